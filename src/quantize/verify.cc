#include "quantize/verify.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>

#include "base/checksum.h"
#include "base/file.h"
#include "base/thread_team.h"
#include "checkpoint/manifest.h"
#include "model/rank_weights.h"
#include "model/stored_weight.h"

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

Status find_extra_files(const std::string& directory, const Manifest& manifest, std::set<std::string> known,
                        VerifyResult& result) {
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
Status open_model(const VerifyOptions& options, const std::optional<ShardedFolder>& folder,
                  VerifyResult& result) {
  const std::string& directory = options.directory;
  FATHOM_ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(directory));
  FATHOM_ASSIGN_OR_RETURN(const QuantDescription description, QuantDescription::load(directory, config));
  const auto open_part = [&](const Sharding& sharding) -> Status {
    FATHOM_RETURN_IF_ERROR(check_sharding(config, sharding));
    FATHOM_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(directory, sharding));
    FATHOM_RETURN_IF_ERROR(check_weights(*checkpoint, config, description));
    if (result.has_checksums) return ok_status();
    result.num_files += checkpoint->files().size();
    result.num_tensors += checkpoint->names().size();
    for (const auto& file : checkpoint->files()) result.num_bytes += file->file().bytes().size();
    return ok_status();
  };
  if (!folder) return open_part(Sharding());
  for (const int64_t rank : options.ranks) FATHOM_RETURN_IF_ERROR(open_part(sharding_of(*folder, rank)));
  return ok_status();
}

Result<Manifest> load_manifest(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxManifestBytes));
  return parse_manifest(text, path);
}

// What the ranks that are looked at have, each by a manifest of its own. Those of other ranks may be
// elsewhere.
void add_rank_files(const VerifyOptions& options, const ShardedFolder& folder, Manifest& manifest,
                    VerifyResult& result) {
  for (int64_t rank = 0; rank < folder.num_ranks; ++rank) {
    const std::string name = rank_manifest_name(rank, folder.num_ranks);
    const bool wanted = std::find(options.ranks.begin(), options.ranks.end(), rank) != options.ranks.end();
    if (!wanted) {
      std::erase_if(manifest.files, [&](const ManifestFile& file) { return file.name == name; });
      continue;
    }
    const std::string path = join_path(options.directory, name);
    if (!path_exists(path)) continue;  // it is missed as a file
    auto own = load_manifest(path);
    if (own.ok()) {
      std::move(own->files.begin(), own->files.end(), std::back_inserter(manifest.files));
    } else {
      result.damages.push_back({name, "", own.status().message()});
    }
  }
}

// Files of ranks that are not looked at are no surprise.
std::set<std::string> files_of_others(const VerifyOptions& options,
                                      const std::optional<ShardedFolder>& folder) {
  std::set<std::string> names;
  if (!folder) return names;
  for (int64_t rank = 0; rank < folder->num_ranks; ++rank) {
    if (std::find(options.ranks.begin(), options.ranks.end(), rank) != options.ranks.end()) continue;
    for (const RankFile& file : folder->files[static_cast<size_t>(rank)]) names.insert(file.name);
  }
  return names;
}

Status choose_ranks(const std::optional<ShardedFolder>& folder, VerifyOptions& options) {
  const int64_t num_ranks = folder ? folder->num_ranks : 0;
  for (const int64_t rank : options.ranks) {
    if (rank >= 0 && rank < num_ranks) continue;
    return invalid_argument("--ranks: {} is no rank of {}, which {}", rank, options.directory,
                            folder ? fmt::format("is sharded for {}", num_ranks) : "is not sharded");
  }
  if (options.ranks.empty()) {
    for (int64_t rank = 0; rank < num_ranks; ++rank) options.ranks.push_back(rank);
  }
  return ok_status();
}

}  // namespace

Result<VerifyResult> verify_model(const VerifyOptions& wanted, ProgressSink* progress) {
  VerifyOptions options = wanted;
  const std::string& directory = options.directory;
  if (!directory_exists(directory)) return not_found("{}: no such folder", directory);
  VerifyResult result;
  const auto sharding = read_sharding(directory);  // what is wrong with it is told below, like any damage
  const std::optional<ShardedFolder> folder = sharding.ok() ? *sharding : std::nullopt;
  if (sharding.ok()) FATHOM_RETURN_IF_ERROR(choose_ranks(folder, options));
  const std::string path = join_path(directory, kManifestName);
  if (path_exists(path)) {
    result.has_checksums = true;
    auto manifest = load_manifest(path);
    if (manifest.ok()) {
      if (folder) add_rank_files(options, *folder, *manifest, result);
      check_manifest(directory, *manifest, options.num_threads, progress, result);
      if (sharding.ok()) {
        FATHOM_RETURN_IF_ERROR(
            find_extra_files(directory, *manifest, files_of_others(options, folder), result));
      }
    } else {
      result.damages.push_back({kManifestName, "", manifest.status().message()});
    }
  }
  const Status opened = open_model(options, folder, result);
  if (!opened.ok() && result.damages.empty()) result.damages.push_back({"", "", opened.message()});
  return result;
}

}  // namespace fathom
