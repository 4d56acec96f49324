#include "checkpoint/manifest.h"

#include "base/checked_math.h"
#include "base/checksum.h"
#include "checkpoint/safetensors_header.h"

namespace fathom {
namespace {

constexpr int kManifestVersion = 1;
constexpr JsonLimits kManifestLimits = {
    .max_bytes = size_t{512} << 20, .max_depth = 16, .max_object_keys = 64};
// The last line but one holds the checksum of everything in front of it.
constexpr std::string_view kChecksumBegin = ",\n \"checksum\": \"";
constexpr std::string_view kChecksumEnd = "\"\n}\n";
constexpr size_t kChecksumDigits = 32;

Result<std::string> text_of(const Json& json, const char* key, const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string())
    return invalid_data("{}: \"{}\" is not a string", where, key);
  return found->get<std::string>();
}

Result<uint64_t> number_of(const Json& json, const char* key, const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_unsigned())
    return invalid_data("{}: \"{}\" is not a number of bytes", where, key);
  return found->get<uint64_t>();
}

Status read_tensors(const Json& json, const std::string& where, ManifestFile& file) {
  uint64_t end = file.header_bytes;
  for (const Json& entry : json) {
    const bool is_tensor = entry.is_array() && entry.size() == 3 && entry[0].is_string() &&
                           entry[1].is_number_unsigned() && entry[2].is_string();
    if (!is_tensor) return invalid_data("{}: a tensor is not [name, bytes, checksum]", where);
    ManifestTensor tensor{entry[0].get<std::string>(), entry[1].get<uint64_t>(), entry[2].get<std::string>()};
    end = checked_add(end, tensor.bytes).value_or(UINT64_MAX);
    file.tensors.push_back(std::move(tensor));
  }
  if (file.header_bytes == 0 || end != file.bytes)
    return invalid_data("{}: header and tensors do not fill the file's {} bytes", where, file.bytes);
  return ok_status();
}

}  // namespace

ManifestFile manifest_file(std::string name, std::span<const TensorDeclaration> tensors,
                           const WrittenShard& written) {
  ManifestFile file{std::move(name), written.file_bytes, written.header_bytes, written.header_checksum, {}};
  for (size_t i = 0; i < tensors.size(); ++i)
    file.tensors.push_back({tensors[i].name, tensors[i].num_bytes(), written.tensor_checksums[i]});
  return file;
}

std::string content_digest(const ManifestFile& file) {
  std::string text = file.checksum;
  for (const ManifestTensor& tensor : file.tensors) text += tensor.checksum;
  return checksum_of(text);
}

Json to_json(const ManifestFile& file) {
  Json json = {{"name", file.name}, {"bytes", file.bytes}};
  if (file.header_bytes == 0) {
    json["xxh3"] = file.checksum;
    return json;
  }
  json["header_bytes"] = file.header_bytes;
  json["header_xxh3"] = file.checksum;
  Json& tensors = json["tensors"] = Json::array();
  for (const ManifestTensor& tensor : file.tensors)
    tensors.push_back(Json::array({tensor.name, tensor.bytes, tensor.checksum}));
  return json;
}

Result<ManifestFile> manifest_file_from_json(const Json& json, const std::string& where) {
  if (!json.is_object()) return invalid_data("{}: a file's entry is not an object", where);
  ManifestFile file;
  FATHOM_ASSIGN_OR_RETURN(file.name, text_of(json, "name", where));
  if (file.name.empty() || file.name.front() == '.' || file.name.find('/') != std::string::npos)
    return invalid_data("{}: {} is not the name of a file in the folder", where, show_name(file.name));
  FATHOM_ASSIGN_OR_RETURN(file.bytes, number_of(json, "bytes", where));
  const auto tensors = json.find("tensors");
  if (tensors == json.end()) {
    FATHOM_ASSIGN_OR_RETURN(file.checksum, text_of(json, "xxh3", where));
    return file;
  }
  if (!tensors->is_array()) return invalid_data("{}: \"tensors\" is not a list", where);
  FATHOM_ASSIGN_OR_RETURN(file.header_bytes, number_of(json, "header_bytes", where));
  FATHOM_ASSIGN_OR_RETURN(file.checksum, text_of(json, "header_xxh3", where));
  FATHOM_RETURN_IF_ERROR(read_tensors(*tensors, where, file));
  return file;
}

std::string write_manifest(const Manifest& manifest) {
  Json files = Json::array();
  for (const ManifestFile& file : manifest.files) files.push_back(to_json(file));
  const Json json = {{"format", "fathom manifest"},
                     {"version", kManifestVersion},
                     {"options", manifest.options},
                     {"files", std::move(files)}};
  std::string text = dump_json(json, 1);
  text.resize(text.size() - std::string_view("\n}").size());
  const std::string checksum = checksum_of(text);
  return fmt::format("{}{}{}{}", text, kChecksumBegin, checksum, kChecksumEnd);
}

Result<Manifest> parse_manifest(const std::string& text, const std::string& path) {
  const size_t tail = kChecksumBegin.size() + kChecksumDigits + kChecksumEnd.size();
  const std::string_view body = std::string_view(text).substr(0, text.size() - std::min(tail, text.size()));
  if (text != fmt::format("{}{}{}{}", body, kChecksumBegin, checksum_of(body), kChecksumEnd))
    return invalid_data("{}: does not agree with its own checksum", path);
  FATHOM_ASSIGN_OR_RETURN(const Json json, parse_json(text, path, kManifestLimits));
  const auto version = json.is_object() ? json.find("version") : json.end();
  if (version == json.end() || *version != kManifestVersion)
    return unsupported("{}: not a manifest of version {}", path, kManifestVersion);
  const auto files = json.find("files");
  if (files == json.end() || !files->is_array()) return invalid_data("{}: \"files\" is not a list", path);
  Manifest manifest;
  manifest.options = json.value("options", Json());
  for (const Json& entry : *files) {
    FATHOM_ASSIGN_OR_RETURN(ManifestFile file, manifest_file_from_json(entry, path));
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

}  // namespace fathom
