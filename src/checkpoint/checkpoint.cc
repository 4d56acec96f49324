#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "base/check.h"
#include "base/file.h"
#include "checkpoint/shard_index.h"

namespace fathom {
namespace {

constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

// Something of that name is there, whatever it is: a folder or a pipe gets its own message when it is opened.
bool path_exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::symlink_status(path, error).type() != std::filesystem::file_type::not_found;
}

// Why a folder without our two file names cannot be opened.
Status explain_missing_weights(const std::string& directory) {
  size_t num_entries = 0;
  size_t num_safetensors = 0;
  std::string pickle_name;
  std::error_code error;
  std::filesystem::directory_iterator iterator(directory, error);
  if (error) return io_error("{}: cannot list: {}", directory, error.message());
  for (; !error && iterator != std::filesystem::directory_iterator(); iterator.increment(error)) {
    ++num_entries;
    const std::string extension = iterator->path().extension().string();
    if (extension == ".safetensors") ++num_safetensors;
    if (extension == ".bin" || extension == ".pt" || extension == ".pth")
      pickle_name = iterator->path().filename().string();
  }
  if (num_entries == 0) return not_found("{}: folder is empty: download the model into it", directory);
  if (num_safetensors > 0) {
    return not_found("{}: has {} .safetensors files but no {}: download the index", directory,
                     num_safetensors, kIndexName);
  }
  if (!pickle_name.empty()) {
    return unsupported(
        "{}: has only pickle weights ({}), which are never read because they can run code: convert them "
        "to safetensors",
        directory, pickle_name);
  }
  return not_found("{}: has neither {} nor {}: download the weights", directory, kSingleName, kIndexName);
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::string& directory) {
  if (!path_exists(directory)) return not_found("{}: no such folder", directory);
  if (!directory_exists(directory))
    return invalid_data("{}: not a folder: give the folder that holds config.json", directory);
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(directory));
  const std::string single = join_path(directory, kSingleName);
  const std::string index = join_path(directory, kIndexName);
  if (path_exists(single)) {
    FATHOM_RETURN_IF_ERROR(checkpoint->open_single(single));
  } else if (path_exists(index)) {
    FATHOM_RETURN_IF_ERROR(checkpoint->open_sharded(index));
  } else {
    return explain_missing_weights(directory);
  }
  return checkpoint;
}

Status Checkpoint::open_single(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(path));
  files_.push_back(std::move(file));
  return collect_names();
}

Status Checkpoint::open_sharded(const std::string& index_path) {
  FATHOM_ASSIGN_OR_RETURN(const ShardIndex index, read_shard_index(index_path));
  for (const std::string& name : index.files) {
    auto file = SafetensorsFile::open(join_path(directory_, name));
    if (!file.ok() && file.status().code() == ErrorCode::kNotFound) {
      return not_found("{}: no such file, but {} names it: download it", join_path(directory_, name),
                       kIndexName);
    }
    if (!file.ok()) return file.status();
    files_.push_back(std::move(file).value());
  }
  FATHOM_RETURN_IF_ERROR(collect_names());
  for (const ShardIndex::Location& location : index.locations) {
    const SafetensorsFile& expected = *files_[location.file_index];
    const Place* place = find(location.tensor);
    if (place == nullptr || place->file != &expected) {
      return invalid_data("{}: tensor {} should be in {}, which does not have it", index_path,
                          show_name(location.tensor), expected.path());
    }
  }
  if (places_.size() != index.locations.size()) {
    for (size_t i = 0; i < places_.size(); ++i) {
      if (i < index.locations.size() && index.locations[i].tensor == names_[i]) continue;
      return invalid_data("{}: tensor {} is not listed in {}", places_[i].file->path(), show_name(names_[i]),
                          kIndexName);
    }
  }
  return ok_status();
}

Status Checkpoint::collect_names() {
  for (const auto& file : files_) {
    for (const SafetensorsEntry& entry : file->entries()) places_.push_back({&entry, file.get()});
  }
  std::sort(places_.begin(), places_.end(),
            [](const Place& a, const Place& b) { return a.entry->name < b.entry->name; });
  for (const Place& place : places_) {
    if (!names_.empty() && names_.back() == place.entry->name) {
      return invalid_data("{}: tensor {} is in two files, also in {}",
                          places_[names_.size() - 1].file->path(), show_name(place.entry->name),
                          place.file->path());
    }
    names_.push_back(place.entry->name);
  }
  return ok_status();
}

const Checkpoint::Place* Checkpoint::find(std::string_view name) const {
  const auto found = std::lower_bound(names_.begin(), names_.end(), name);
  if (found == names_.end() || *found != name) return nullptr;
  return &places_[static_cast<size_t>(found - names_.begin())];
}

Result<TensorView> Checkpoint::tensor(std::string_view name) const {
  const Place* place = find(name);
  if (place == nullptr) return not_found("{}: has no tensor {}", directory_, show_name(name));
  return place->file->view(*place->entry);
}

const std::string& Checkpoint::file_of(std::string_view name) const {
  const Place* place = find(name);
  FATHOM_CHECK(place != nullptr, "no tensor {}", name);
  return place->file->path();
}

uint64_t Checkpoint::data_bytes() const {
  uint64_t sum = 0;
  for (const auto& file : files_) sum += file->data_bytes();
  return sum;
}

}  // namespace fathom
