#include "checkpoint/quantization.h"

#include <algorithm>

#include "base/file.h"
#include "base/json.h"
#include "checkpoint/safetensors_header.h"

namespace fathom {
namespace {

constexpr int kMaxDescriptionDepth = 128;

// Read as a stream: a real file has tens of thousands of keys in one object. Takes the keys of the top object
// that name tensors; the newer layout's metadata stands beside them, and none of its keys has a dot.
class DescriptionReader : public nlohmann::json_sax<Json> {
 public:
  std::vector<QuantEntry> entries;
  Status status;  // why the parse stopped

  bool start_object(size_t) override { return depth_ > 0 && at_tensor() ? not_a_type() : deeper(); }
  bool start_array(size_t) override { return scalar() && deeper(); }
  bool end_object() override { return shallower(); }
  bool end_array() override { return shallower(); }
  bool key(string_t& text) override {
    if (depth_ != 1) return true;
    tensor_.clear();
    if (text.find('.') != std::string::npos) tensor_ = text;
    return true;
  }
  bool string(string_t& value) override {
    if (depth_ == 0) return not_an_object();
    if (!at_tensor()) return true;
    const auto type = quant_type_from_description(value);
    if (!type) {
      return stop(
          unsupported("tensor {} has type {}, expected FLOAT, W8A16, W8A8_DYNAMIC, W4A16 or W4A8_DYNAMIC",
                      show_name(tensor_), show_name(value)));
    }
    entries.push_back({tensor_, *type});
    return true;
  }
  bool null() override { return scalar(); }
  bool boolean(bool) override { return scalar(); }
  bool number_integer(number_integer_t) override { return scalar(); }
  bool number_unsigned(number_unsigned_t) override { return scalar(); }
  bool number_float(number_float_t, const string_t&) override { return scalar(); }
  bool binary(binary_t&) override { return scalar(); }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    return stop(invalid_data("not valid JSON near its byte {}", position));
  }

 private:
  bool at_tensor() const { return depth_ == 1 && !tensor_.empty(); }
  // Any value but a string or an object.
  bool scalar() {
    if (depth_ == 0) return not_an_object();
    return at_tensor() ? not_a_type() : true;
  }
  bool deeper() {
    if (++depth_ > kMaxDescriptionDepth)
      return stop(invalid_data("JSON is nested deeper than the limit of {} levels", kMaxDescriptionDepth));
    return true;
  }
  bool shallower() {
    --depth_;
    return true;
  }
  bool not_an_object() { return stop(invalid_data("not an object of tensor names and types")); }
  bool not_a_type() {
    return stop(invalid_data("tensor {} has a type that is not a string", show_name(tensor_)));
  }
  bool stop(Status why) {
    status = std::move(why);
    return false;
  }

  int depth_ = 0;
  std::string tensor_;  // the top object's key, where it names a tensor
};

// By tensor, each once.
Result<std::vector<QuantEntry>> parse_description(const std::string& text, const std::string& path) {
  DescriptionReader reader;
  if (!Json::sax_parse(text, &reader)) return reader.status.with_context(path);
  std::vector<QuantEntry> entries = std::move(reader.entries);
  std::sort(entries.begin(), entries.end(),
            [](const QuantEntry& a, const QuantEntry& b) { return a.tensor < b.tensor; });
  for (size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].tensor == entries[i - 1].tensor)
      return invalid_data("{}: tensor {} is listed twice", path, show_name(entries[i].tensor));
  }
  return entries;
}

// The names to try, the first that is there counts. w8a8 alone is what some versions of the tools call the
// dynamic type's file.
std::vector<std::string> candidate_names(QuantType type) {
  std::vector<std::string> names = {description_file_name(std::nullopt), description_file_name(type)};
  if (type == QuantType::kW8A8Dynamic) names.emplace_back("quant_model_description_w8a8.json");
  return names;
}

// The path of the first that is there, "" where there is none.
std::string find_description(const std::string& model_dir, QuantType type) {
  for (const std::string& name : candidate_names(type)) {
    std::string path = join_path(model_dir, name);
    if (path_exists(path)) return path;
  }
  return "";
}

Result<std::string> choose_description(const std::string& model_dir, std::optional<QuantType> quantize) {
  if (!quantize) {
    std::string found;
    for (QuantType type : kQuantizedTypes) {
      std::string path = find_description(model_dir, type);
      if (!found.empty() && !path.empty() && found != path) {
        return invalid_data("{}: is there beside {}: say in config.json which one counts, as \"quantize\"",
                            found, path);
      }
      if (!path.empty()) found = std::move(path);
    }
    return found;
  }
  const std::string path = find_description(model_dir, *quantize);
  if (path.empty()) {
    return not_found("{}: config.json has quantize \"{}\", but there is neither {} nor {}", model_dir,
                     quant_type_name(*quantize), description_file_name(std::nullopt),
                     description_file_name(quantize));
  }
  return path;
}

void relabel(std::vector<QuantEntry>& entries, std::string_view part, std::optional<QuantType> type) {
  if (!type) return;
  for (QuantEntry& entry : entries) {
    if (entry.type != QuantType::kFloat && entry.tensor.find(part) != std::string::npos) entry.type = *type;
  }
}

}  // namespace

Result<QuantDescription> QuantDescription::load(const std::string& model_dir, const ModelConfig& config) {
  QuantDescription description;
  FATHOM_ASSIGN_OR_RETURN(description.path_, choose_description(model_dir, config.quantize));
  if (!description.present()) return description;
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(description.path_, kMaxDescriptionBytes));
  FATHOM_ASSIGN_OR_RETURN(description.entries_, parse_description(text, description.path_));
  relabel(description.entries_, ".self_attn.", config.mla_quantize);
  relabel(description.entries_, ".mlp.experts.", config.moe_quantize);
  return description;
}

std::optional<QuantType> QuantDescription::find(std::string_view tensor) const {
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), tensor,
                       [](const QuantEntry& entry, std::string_view name) { return entry.tensor < name; });
  if (found == entries_.end() || found->tensor != tensor) return std::nullopt;
  return found->type;
}

std::string description_file_name(std::optional<QuantType> type) {
  return type ? fmt::format("quant_model_description_{}.json", quant_type_name(*type))
              : "quant_model_description.json";
}

std::string write_quant_description(std::span<const QuantEntry> entries, const Json& metadata) {
  std::string text = "{";
  const char* separator = "";
  for (const auto& [key, value] : metadata.items()) {
    text += fmt::format("{}\n  {}: {}", separator, dump_json(Json(key)), dump_json(value));
    separator = ",";
  }
  for (const QuantEntry& entry : entries) {
    text += fmt::format("{}\n  {}: \"{}\"", separator, dump_json(Json(entry.tensor)),
                        description_name(entry.type));
    separator = ",";
  }
  return text + "\n}\n";
}

}  // namespace fathom
