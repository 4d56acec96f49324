// model.safetensors.index.json: which file of the folder holds which tensor. Read as a stream: a real index
// has tens of thousands of names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom {

inline constexpr size_t kMaxIndexBytes = size_t{64} << 20;
inline constexpr size_t kMaxShards = 4096;

struct ShardIndex {
  struct Location {
    std::string tensor;
    uint32_t file_index;
  };
  std::vector<std::string> files;   // plain names of files in the index's own folder
  std::vector<Location> locations;  // by tensor name, each name once
};

// Refused: a file name that is a path (absolute, "..", any separator) or does not end in .safetensors, a
// tensor listed twice, an empty or missing weight_map, more than kMaxShards files. Other keys are skipped.
Result<ShardIndex> read_shard_index(const std::string& path);

// The text of an index file.
std::string write_shard_index(const ShardIndex& index, uint64_t total_bytes);

}  // namespace fathom
