#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/checked_math.h"
#include "base/json.h"

namespace fathom {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr std::string_view kLfsStart = "version https://git-lfs";

// Every type of the format by its bits; those without a DType can be stored beside our tensors but not used.
struct FormatType {
  std::string_view name;
  uint64_t bits;
};
constexpr FormatType kFormatTypes[] = {
    {"F32", 32},    {"BF16", 16},   {"F16", 16},    {"I8", 8},   {"I32", 32},    {"I64", 64},    {"F64", 64},
    {"BOOL", 8},    {"U8", 8},      {"I16", 16},    {"U16", 16}, {"U32", 32},    {"U64", 64},    {"C64", 64},
    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6},
};

// Follows the parser through { name: {"dtype": .., "shape": [..], "data_offsets": [b, e]}, "__metadata__":
// {..} }. Any value where the format has none stops the parse, so nesting never goes deeper than the format's
// three levels.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  std::vector<SafetensorsEntry> entries;
  std::string error;  // why the parse stopped

  bool start_object(size_t) override {
    if (place_ == Place::kStart) return enter(Place::kTop);
    if (place_ == Place::kTop) {
      if (is_metadata_) return enter(Place::kMetadata);
      seen_ = 0;
      return enter(Place::kTensor);
    }
    return unexpected("an object");
  }

  bool end_object() override {
    if (place_ == Place::kTensor && seen_ != (kDtype | kShape | kOffsets)) {
      return fail("tensor {} lacks dtype, shape or data_offsets");
    }
    return enter(place_ == Place::kTop ? Place::kEnd : Place::kTop);
  }

  bool key(string_t& text) override {
    if (place_ == Place::kTop) {
      is_metadata_ = text == "__metadata__";
      if (is_metadata_ && metadata_seen_) return fail("key \"__metadata__\" occurs twice");
      if (is_metadata_) metadata_seen_ = true;
      if (!is_metadata_) entries.emplace_back().name = text;
      return true;
    }
    if (place_ == Place::kMetadata) return true;
    field_ = text == "dtype" ? kDtype : text == "shape" ? kShape : text == "data_offsets" ? kOffsets : 0;
    if (field_ == 0) return fail("tensor {} has an unknown key");
    if ((seen_ & field_) != 0) return fail("tensor {} has a key twice");
    seen_ |= field_;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor || field_ == kDtype) return unexpected("a list");
    num_offsets_ = 0;
    if (field_ == kShape) entries.back().num_elements = 1;
    return enter(Place::kNumbers);
  }

  bool end_array() override {
    if (field_ == kOffsets && num_offsets_ != 2) return fail("data_offsets of tensor {} are not two numbers");
    return enter(Place::kTensor);
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kNumbers) return unexpected("a number");
    SafetensorsEntry& entry = entries.back();
    if (field_ == kOffsets) {
      if (num_offsets_ == 2) return fail("data_offsets of tensor {} are not two numbers");
      (num_offsets_++ == 0 ? entry.begin : entry.end) = value;
      return true;
    }
    if (value > static_cast<uint64_t>(INT64_MAX))
      return fail("shape of tensor {} holds a number that is too large");
    if (entry.rank < Shape::kMaxRank)
      entry.dimensions[static_cast<size_t>(entry.rank)] = static_cast<int64_t>(value);
    ++entry.rank;
    if (entry.num_elements) entry.num_elements = checked_mul(*entry.num_elements, value);
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || field_ != kDtype) return unexpected("a string");
    SafetensorsEntry& entry = entries.back();
    entry.dtype_name = value.substr(0, 15);  // no allocation: the longest real name has 7
    entry.dtype = dtype_from_safetensors(value);
    return true;
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("true or false"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fraction"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    error = fmt::format("header is not valid JSON near its byte {}", position);
    return false;
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kNumbers, kEnd };
  static constexpr int kDtype = 1;
  static constexpr int kShape = 2;
  static constexpr int kOffsets = 4;

  bool enter(Place place) {
    place_ = place;
    return true;
  }
  bool fail(fmt::format_string<std::string> format) {
    error = fmt::format(format, entries.empty() ? "" : show_name(entries.back().name));
    return false;
  }
  bool fail(const char* text) {
    error = text;
    return false;
  }
  bool unexpected(const char* what) {
    const std::string where =
        place_ == Place::kStart || entries.empty() ? "" : " near tensor " + show_name(entries.back().name);
    error = fmt::format("header holds {} where the format has none{}", what, where);
    return false;
  }

  Place place_ = Place::kStart;
  bool is_metadata_ = false;
  bool metadata_seen_ = false;
  int seen_ = 0;
  int field_ = 0;
  int num_offsets_ = 0;
};

// The bytes that dtype and shape ask for; the offsets' own difference where the dtype is not known.
Result<uint64_t> stored_bytes(const SafetensorsEntry& entry) {
  if (!entry.num_elements) return invalid_data("shape of tensor {} overflows", show_name(entry.name));
  for (const FormatType& type : kFormatTypes) {
    if (type.name != entry.dtype_name) continue;
    const auto bits = checked_mul(*entry.num_elements, type.bits);
    if (!bits) return invalid_data("shape of tensor {} overflows", show_name(entry.name));
    if (*bits % 8 != 0) return invalid_data("tensor {} does not end on a byte", show_name(entry.name));
    return *bits / 8;
  }
  return entry.end - entry.begin;
}

// Every byte of the data section belongs to exactly one tensor.
Status check_layout(const std::vector<SafetensorsEntry>& entries, uint64_t data_bytes) {
  std::vector<uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::pair(entries[a].begin, entries[a].end) < std::pair(entries[b].begin, entries[b].end);
  });
  uint64_t position = 0;
  for (uint32_t index : order) {
    const SafetensorsEntry& entry = entries[index];
    if (entry.end < entry.begin || entry.end > data_bytes) {
      return invalid_data(
          "tensor {} lies at [{}, {}), outside the file's {} bytes of data: the file is cut short",
          show_name(entry.name), entry.begin, entry.end, data_bytes);
    }
    if (entry.begin != position) {
      return invalid_data("tensor {} begins at {}, but the one before it ends at {}", show_name(entry.name),
                          entry.begin, position);
    }
    FATHOM_ASSIGN_OR_RETURN(const uint64_t expected, stored_bytes(entry));
    if (expected != entry.end - entry.begin) {
      return invalid_data("tensor {} has {} bytes, but its dtype and shape ask for {}", show_name(entry.name),
                          entry.end - entry.begin, expected);
    }
    position = entry.end;
  }
  if (position != data_bytes) {
    return invalid_data("{} bytes follow the last tensor", data_bytes - position);
  }
  return ok_status();
}

Result<uint64_t> header_length(std::span<const std::byte> file) {
  const std::string_view start(reinterpret_cast<const char*>(file.data()), std::min<size_t>(file.size(), 64));
  if (start.starts_with(kLfsStart)) {
    return invalid_data("this is a Git LFS pointer, not the weights: run git lfs pull in the model folder");
  }
  if (file.size() < kLengthBytes) {
    return invalid_data("{} bytes are too few for a safetensors file", file.size());
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);  // little-endian, as every machine we run on
  if (length > kMaxSafetensorsHeaderBytes) {
    return invalid_data("header of {} bytes is over the limit of {}: not a safetensors file", length,
                        kMaxSafetensorsHeaderBytes);
  }
  if (length > file.size() - kLengthBytes) {
    return invalid_data("header of {} bytes is longer than the file of {}: the file is cut short", length,
                        file.size());
  }
  return length;
}

}  // namespace

std::string show_name(std::string_view name) {
  constexpr size_t kLongest = 120;
  return dump_json(Json(std::string(name.substr(0, kLongest)))) + (name.size() > kLongest ? "..." : "");
}

Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file, const std::string& path) {
  const auto length = header_length(file);
  if (!length.ok()) return length.status().with_context(path);
  const char* text = reinterpret_cast<const char*>(file.data()) + kLengthBytes;
  HeaderReader reader;
  if (!Json::sax_parse(text, text + *length, &reader)) return invalid_data("{}: {}", path, reader.error);
  SafetensorsHeader header;
  header.data_begin = kLengthBytes + *length;
  header.entries = std::move(reader.entries);
  std::sort(header.entries.begin(), header.entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) { return a.name < b.name; });
  for (size_t i = 1; i < header.entries.size(); ++i) {
    if (header.entries[i].name == header.entries[i - 1].name) {
      return invalid_data("{}: tensor {} occurs twice", path, show_name(header.entries[i].name));
    }
  }
  FATHOM_RETURN_IF_ERROR(check_layout(header.entries, file.size() - header.data_begin).with_context(path));
  return header;
}

}  // namespace fathom
