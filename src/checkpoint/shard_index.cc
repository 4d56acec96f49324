#include "checkpoint/shard_index.h"

#include <algorithm>
#include <unordered_map>

#include "base/file.h"
#include "base/json.h"
#include "checkpoint/safetensors_header.h"

namespace fathom {
namespace {

constexpr int kMaxIndexDepth = 128;

// A name inside the folder and nothing else. A symbolic link of that name is fine: caches of downloads use
// them.
bool is_plain_shard_name(std::string_view name) {
  return name.ends_with(".safetensors") && name.size() <= 255 &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// Takes the strings of the top object's weight_map, skips everything else.
class IndexReader : public nlohmann::json_sax<Json> {
 public:
  ShardIndex index;
  std::string error;  // why the parse stopped
  bool map_seen = false;

  bool start_object(size_t) override {
    if (in_map()) return not_a_name();
    if (depth_ == 1 && at_map_key_) map_open_ = true;
    return deeper();
  }
  bool end_object() override {
    if (in_map()) map_open_ = at_map_key_ = false;
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    return depth_ == 0 || expects_map() || in_map() ? not_a_name() : deeper();
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& text) override {
    if (in_map()) {
      index.locations.push_back({text, 0});
      return true;
    }
    if (depth_ != 1) return true;
    at_map_key_ = text == "weight_map";
    if (at_map_key_ && map_seen) return fail("key \"weight_map\" occurs twice");
    map_seen = map_seen || at_map_key_;
    return true;
  }
  bool string(string_t& value) override {
    if (expects_map() || depth_ == 0) return not_a_name();
    if (!in_map()) return true;
    const auto [file, is_new] = file_indices_.try_emplace(value, static_cast<uint32_t>(index.files.size()));
    if (is_new) {
      if (!is_plain_shard_name(value)) {
        return fail(fmt::format(
            "weight_map names the file {}: only names of .safetensors files in the same folder are read",
            show_name(value)));
      }
      if (index.files.size() == kMaxShards)
        return fail(fmt::format("over the limit of {} files", kMaxShards));
      index.files.push_back(value);
    }
    index.locations.back().file_index = file->second;
    return true;
  }
  bool null() override { return scalar(); }
  bool boolean(bool) override { return scalar(); }
  bool number_integer(number_integer_t) override { return scalar(); }
  bool number_unsigned(number_unsigned_t) override { return scalar(); }
  bool number_float(number_float_t, const string_t&) override { return scalar(); }
  bool binary(binary_t&) override { return scalar(); }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    return fail(fmt::format("not valid JSON near its byte {}", position));
  }

 private:
  bool in_map() const { return map_open_ && depth_ == 2; }
  bool expects_map() const { return depth_ == 1 && at_map_key_; }
  bool scalar() { return depth_ == 0 || expects_map() || in_map() ? not_a_name() : true; }
  bool deeper() {
    if (++depth_ > kMaxIndexDepth)
      return fail(fmt::format("JSON is nested deeper than the limit of {} levels", kMaxIndexDepth));
    return true;
  }
  bool not_a_name() { return fail("weight_map is not an object of tensor names and file names"); }
  bool fail(std::string text) {
    error = std::move(text);
    return false;
  }

  int depth_ = 0;
  bool at_map_key_ = false;
  bool map_open_ = false;
  std::unordered_map<std::string, uint32_t> file_indices_;
};

}  // namespace

Result<ShardIndex> read_shard_index(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxIndexBytes));
  IndexReader reader;
  if (!Json::sax_parse(text, &reader)) return invalid_data("{}: {}", path, reader.error);
  ShardIndex index = std::move(reader.index);
  if (index.locations.empty()) return invalid_data("{}: weight_map is missing or empty", path);
  std::sort(index.locations.begin(), index.locations.end(),
            [](const auto& a, const auto& b) { return a.tensor < b.tensor; });
  for (size_t i = 1; i < index.locations.size(); ++i) {
    if (index.locations[i].tensor == index.locations[i - 1].tensor) {
      return invalid_data("{}: tensor {} is listed twice", path, show_name(index.locations[i].tensor));
    }
  }
  return index;
}

std::string write_shard_index(const ShardIndex& index, uint64_t total_bytes) {
  std::string text =
      fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{", total_bytes);
  const char* separator = "";
  for (const ShardIndex::Location& location : index.locations) {
    text += fmt::format("{}\n    {}: {}", separator, dump_json(Json(location.tensor)),
                        dump_json(Json(index.files[location.file_index])));
    separator = ",";
  }
  return text + "\n  }\n}\n";
}

}  // namespace fathom
