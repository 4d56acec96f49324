// The header of a safetensors file: parsed as a stream, so that memory stays within a few times the header's
// own size whatever it claims, and checked against the file's size before anything is sized by it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tensor/view.h"

namespace fathom {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

// One tensor as the header describes it; [begin, end) are bytes from the start of the data section.
struct SafetensorsEntry {
  std::string name;
  std::string dtype_name;      // as written; cut where it is absurdly long
  std::optional<DType> dtype;  // nullopt: a type that no tensor of ours has
  int64_t rank = 0;            // may be above Shape::kMaxRank
  std::array<int64_t, Shape::kMaxRank> dimensions = {};
  std::optional<uint64_t> num_elements;  // nullopt: overflow
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct SafetensorsHeader {
  uint64_t data_begin = 0;                // bytes from the start of the file
  std::vector<SafetensorsEntry> entries;  // by name
};

// Reads the header of a whole file. Refused: a header longer than the file or the limit, anything but the
// format's JSON, a name twice, sizes that overflow or differ from the offsets, holes, overlaps, bytes after
// the last tensor. A dtype that is not known is no failure, its offsets are checked like any other's. path
// starts every message.
Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file, const std::string& path);

// A name in quotes as messages show it, cut where it is long.
std::string show_name(std::string_view name);

}  // namespace fathom
