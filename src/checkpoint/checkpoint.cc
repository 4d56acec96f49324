#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/check.h"
#include "base/file.h"
#include "checkpoint/shard_index.h"

namespace fathom {
namespace {

constexpr std::string_view kSingleEnding = ".safetensors";
constexpr std::string_view kIndexEnding = ".safetensors.index.json";
constexpr const char* kFloatStem = "model";
constexpr const char* kQuantStem = "quant_model_weight";  // and anything behind it
constexpr std::string_view kShardMark = "-of-";

std::string index_name(const std::string& stem) { return fmt::format("{}{}", stem, kIndexEnding); }
std::string single_name(const std::string& stem) { return fmt::format("{}{}", stem, kSingleEnding); }

bool is_weights_stem(std::string_view stem) { return stem == kFloatStem || stem.starts_with(kQuantStem); }

// "quant_model_weights-00001-of-00002.safetensors" is a shard of the stem "quant_model_weights".
std::string stem_of_shard(const std::string& name) {
  const std::string before = name.substr(0, name.rfind(kShardMark));
  return before.substr(0, before.rfind('-'));
}

// Which of the ways to store the weights of one stem are there.
struct WeightFiles {
  bool has_single = false;
  bool has_index = false;
};

struct Folder {
  std::map<std::string, WeightFiles> weights;  // by stem
  size_t num_entries = 0;
  size_t num_safetensors = 0;
  std::string wanted_stem = kFloatStem;  // whose index is missed where there are only shards
  std::string pickle_name;
};

void note_entry(const std::string& name, Folder& folder) {
  ++folder.num_entries;
  if (name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth")) folder.pickle_name = name;
  if (name.ends_with(kIndexEnding)) {
    const std::string stem = name.substr(0, name.size() - kIndexEnding.size());
    if (is_weights_stem(stem)) folder.weights[stem].has_index = true;
  }
  if (!name.ends_with(kSingleEnding)) return;
  ++folder.num_safetensors;
  const std::string stem = name.substr(0, name.size() - kSingleEnding.size());
  if (!is_weights_stem(stem)) return;
  if (stem.find(kShardMark) == std::string::npos) {
    folder.weights[stem].has_single = true;
  } else {
    folder.wanted_stem = stem_of_shard(stem);
  }
}

// Links and other kinds of files count like regular ones: they get their own message when they are opened.
Result<Folder> list_folder(const std::string& directory) {
  Folder folder;
  std::error_code error;
  std::filesystem::directory_iterator iterator(directory, error);
  for (; !error && iterator != std::filesystem::directory_iterator(); iterator.increment(error))
    note_entry(iterator->path().filename().string(), folder);
  if (error) return io_error("{}: cannot list: {}", directory, error.message());
  return folder;
}

// Why a folder without weights of a stem we know cannot be opened.
Status explain_missing_weights(const std::string& directory, const Folder& folder) {
  if (folder.num_entries == 0) return not_found("{}: folder is empty: download the model into it", directory);
  if (folder.num_safetensors > 0) {
    return not_found("{}: has {} .safetensors files but no {}: download the index", directory,
                     folder.num_safetensors, index_name(folder.wanted_stem));
  }
  if (!folder.pickle_name.empty()) {
    return unsupported(
        "{}: has only pickle weights ({}), which are never read because they can run code: convert them "
        "to safetensors",
        directory, folder.pickle_name);
  }
  return not_found("{}: has neither {} nor {}: download the weights", directory, single_name(kFloatStem),
                   index_name(kFloatStem));
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::string& directory) {
  if (!path_exists(directory)) return not_found("{}: no such folder", directory);
  if (!directory_exists(directory))
    return invalid_data("{}: not a folder: give the folder that holds config.json", directory);
  if (path_exists(join_path(directory, kShardingName))) {
    return invalid_argument("{}: is sharded for ranks (it has a {}): give the folder it was made from",
                            directory, kShardingName);
  }
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(directory));
  FATHOM_ASSIGN_OR_RETURN(const Folder folder, list_folder(directory));
  if (folder.weights.empty()) return explain_missing_weights(directory, folder);
  const auto& [stem, files] = *folder.weights.begin();
  if (folder.weights.size() > 1) {
    return invalid_data("{}: has the weights of both {} and {}: move one set out of the folder", directory,
                        stem, folder.weights.rbegin()->first);
  }
  FATHOM_RETURN_IF_ERROR(files.has_single ? checkpoint->open_single(join_path(directory, single_name(stem)))
                                          : checkpoint->open_sharded(join_path(directory, index_name(stem))));
  return checkpoint;
}

Result<std::unique_ptr<Checkpoint>> Checkpoint::open_rank(const std::string& directory, ShardedFolder folder,
                                                          int64_t rank) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(directory));
  checkpoint->rank_part_ = RankPart{std::move(folder), rank};
  for (const RankFile& file : checkpoint->rank_part_->folder.files[static_cast<size_t>(rank)])
    FATHOM_RETURN_IF_ERROR(checkpoint->open_rank_file(file));
  FATHOM_RETURN_IF_ERROR(checkpoint->collect_names());
  return checkpoint;
}

Status Checkpoint::open_rank_file(const RankFile& expected) {
  const std::string path = join_path(directory_, expected.name);
  if (!path_exists(path)) {
    return not_found("{}: no such file, but {} names it for rank {} of {}: copy it here", path, kShardingName,
                     rank_part_->rank, rank_part_->folder.num_ranks);
  }
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(path, error);
  if (!error && bytes != expected.bytes) {
    return invalid_data("{}: has {} bytes, {} in {}: copy it again", path, bytes, expected.bytes,
                        kShardingName);
  }
  FATHOM_ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(path));
  if (file->header_checksum() != expected.header_checksum) {
    return invalid_data("{}: its header is not the one that {} has: it belongs to another folder", path,
                        kShardingName);
  }
  files_.push_back(std::move(file));
  return ok_status();
}

Status Checkpoint::open_single(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(path));
  files_.push_back(std::move(file));
  return collect_names();
}

Status Checkpoint::open_sharded(const std::string& index_path) {
  FATHOM_ASSIGN_OR_RETURN(const ShardIndex index, read_shard_index(index_path));
  const std::string index_file = std::filesystem::path(index_path).filename().string();
  for (const std::string& name : index.files) {
    auto file = SafetensorsFile::open(join_path(directory_, name));
    if (!file.ok() && file.status().code() == ErrorCode::kNotFound) {
      return not_found("{}: no such file, but {} names it: download it", join_path(directory_, name),
                       index_file);
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
                          index_file);
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

Checkpoint::Extent Checkpoint::extent_of(std::string_view name) const {
  const Place* place = find(name);
  FATHOM_CHECK(place != nullptr, "no tensor {}", name);
  const std::span<const std::byte> data = place->file->bytes(*place->entry);
  return {static_cast<uint64_t>(data.data() - place->file->file().bytes().data()), data.size()};
}

uint64_t Checkpoint::data_bytes() const {
  uint64_t sum = 0;
  for (const auto& file : files_) sum += file->data_bytes();
  return sum;
}

void Checkpoint::prefetch(std::string_view name, size_t begin, size_t end) const {
  const Place* place = find(name);
  place->file->file().prefetch(place->file->bytes(*place->entry).subspan(begin, end - begin));
}

void Checkpoint::release(std::string_view name) const {
  const Place* place = find(name);
  place->file->file().release(place->file->bytes(*place->entry));
}

}  // namespace fathom
