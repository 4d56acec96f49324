#include "quantize/verify.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>

#include "base/checksum.h"
#include "base/file.h"
#include "base/thread_team.h"
#include "checkpoint/checkpoint.h"
#include "model/stored_weight.h"
#include "quantize/manifest.h"

namespace fathom {
namespace {

constexpr size_t kMaxManifestBytes = size_t{512} << 20;
constexpr uint64_t kReadBytes = uint64_t{4} << 20;

// Bytes with a checksum of their own.
struct Part {
  const ManifestFile* file;
  const InputFile* input;
  const std::string* tensor;  // null: header or whole file
  const std::string* checksum;
  uint64_t offset;
  uint64_t size;
  std::string what;  // is wrong with it; "": nothing
};

// A file of weights as header and tensors, any other as one part.
void add_parts(const ManifestFile& file, const InputFile& input, std::vector<Part>& parts) {
  const uint64_t first = file.header_bytes == 0 ? file.bytes : file.header_bytes;
  parts.push_back({&file, &input, nullptr, &file.checksum, 0, first, ""});
  uint64_t offset = first;
  for (const ManifestTensor& tensor : file.tensors) {
    parts.push_back({&file, &input, &tensor.name, &tensor.checksum, offset, tensor.bytes, ""});
    offset += tensor.bytes;
  }
}

void check_part(Part& part, std::vector<std::byte>& buffer, std::atomic<uint64_t>& done) {
  Checksum checksum;
  for (uint64_t at = 0; at < part.size; at += buffer.size()) {
    buffer.resize(std::min(kReadBytes, part.size - at));
    const Status status = part.input->read_at(part.offset + at, buffer);
    if (!status.ok()) {
      part.what = status.message();
      return;
    }
    checksum.update(buffer);
    done += buffer.size();
  }
  const char* what =
      part.file->header_bytes > 0 && part.tensor == nullptr ? "the header's bytes" : "the bytes";
  if (checksum.hex() != *part.checksum)
    part.what = fmt::format("{} do not have the checksum of the manifest", what);
}

void check_parts(std::vector<Part>& parts, int num_threads, ProgressSink* progress) {
  uint64_t total = 0;
  for (const Part& part : parts) total += part.size;
  std::atomic<size_t> next{0};
  std::atomic<uint64_t> done{0};
  ThreadTeam team(num_threads);
  team.run([&](int thread) {
    std::vector<std::byte> buffer;
    for (size_t i = next++; i < parts.size(); i = next++) {
      check_part(parts[i], buffer, done);
      if (thread == 0 && progress != nullptr) progress->report("verifying", done, total);
    }
  });
  if (progress != nullptr) progress->report("verifying", total, total);
}

void check_manifest(const std::string& directory, const Manifest& manifest, int num_threads,
                    ProgressSink* progress, VerifyResult& result) {
  std::vector<std::unique_ptr<InputFile>> inputs;
  std::vector<Part> parts;
  for (const ManifestFile& file : manifest.files) {
    auto input = InputFile::open(join_path(directory, file.name));
    if (!input.ok()) {
      const bool missing = input.status().code() == ErrorCode::kNotFound;
      result.damages.push_back({file.name, "", missing ? "the file is missing" : input.status().message()});
      continue;
    }
    ++result.num_files;
    if ((*input)->size() != file.bytes) {
      result.damages.push_back(
          {file.name, "",
           fmt::format("the file has {} bytes, {} in the manifest", (*input)->size(), file.bytes)});
      continue;
    }
    result.num_tensors += file.tensors.size();
    result.num_bytes += file.bytes;
    inputs.push_back(std::move(input).value());
    add_parts(file, *inputs.back(), parts);
  }
  check_parts(parts, num_threads, progress);
  for (const Part& part : parts) {
    if (!part.what.empty())
      result.damages.push_back({part.file->name, part.tensor == nullptr ? "" : *part.tensor, part.what});
  }
}

// What a model would be opened with.
bool is_model_file(const std::string& name) {
  return name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
         (name.starts_with("quant_model_description") && name.ends_with(".json"));
}

Status find_extra_files(const std::string& directory, const Manifest& manifest, VerifyResult& result) {
  std::set<std::string> known;
  for (const ManifestFile& file : manifest.files) known.insert(file.name);
  std::set<std::string> extra;
  std::error_code error;
  std::filesystem::directory_iterator it(directory, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (is_model_file(name) && !known.contains(name)) extra.insert(name);
  }
  if (error) return io_error("{}: cannot list: {}", directory, error.message());
  for (const std::string& name : extra)
    result.damages.push_back({name, "", "the file is not in the manifest: nothing says what it should be"});
  return ok_status();
}

// Sizes and headers, and whether they make a model.
Status open_model(const std::string& directory, VerifyResult& result) {
  FATHOM_ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(directory));
  FATHOM_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::open(directory));
  FATHOM_ASSIGN_OR_RETURN(const QuantDescription description, QuantDescription::load(directory, config));
  FATHOM_RETURN_IF_ERROR(check_weights(*checkpoint, config, description));
  if (result.has_checksums) return ok_status();
  result.num_files = checkpoint->files().size();
  result.num_tensors = checkpoint->names().size();
  for (const auto& file : checkpoint->files()) result.num_bytes += file->file().bytes().size();
  return ok_status();
}

}  // namespace

Result<VerifyResult> verify_model(const std::string& directory, int num_threads, ProgressSink* progress) {
  if (!directory_exists(directory)) return not_found("{}: no such folder", directory);
  VerifyResult result;
  const std::string path = join_path(directory, kManifestName);
  if (path_exists(path)) {
    result.has_checksums = true;
    const auto text = read_file(path, kMaxManifestBytes);
    const auto manifest = text.ok() ? parse_manifest(*text, path) : Result<Manifest>(text.status());
    if (manifest.ok()) {
      check_manifest(directory, *manifest, num_threads, progress, result);
      FATHOM_RETURN_IF_ERROR(find_extra_files(directory, *manifest, result));
    } else {
      result.damages.push_back({kManifestName, "", manifest.status().message()});
    }
  }
  const Status opened = open_model(directory, result);
  if (!opened.ok() && result.damages.empty()) result.damages.push_back({"", "", opened.message()});
  return result;
}

}  // namespace fathom
