// The weights of a model folder as one set of named tensors: one model.safetensors, or the shards of
// model.safetensors.index.json. Quantised weights lie in files of another stem, quant_model_weights or
// quant_model_weight_w8a16 for example; of a folder that `fathom shard` made, it is the files of one rank.
// Only safetensors files are read. Not here: which tensors a model
// needs (model/weight_table.h), what the quantised ones mean (quantization.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/sharded_folder.h"
#include "tensor/view.h"

namespace fathom {

// Const after opening: any thread may read. Views stay valid as long as the checkpoint.
class Checkpoint {
 public:
  // Maps every file and checks every header; reads no data. The set of tensors must be the same in the index
  // and in the files. Refused: weights of two stems in one folder, for nothing says which are meant, and a
  // folder with a sharding.json. Errors name the folder or file and what to do about it.
  static Result<std::unique_ptr<Checkpoint>> open(const std::string& directory);
  // The files of one rank, of the folder's sharding. Refused: a file that is missing, of another size, or
  // that belongs to another folder. Precondition: rank in [0, folder.num_ranks).
  static Result<std::unique_ptr<Checkpoint>> open_rank(const std::string& directory, ShardedFolder folder,
                                                       int64_t rank);

  // What a rank's tensors are part of; null: these are a whole model's.
  struct RankPart {
    ShardedFolder folder;
    int64_t rank = 0;
  };
  const RankPart* rank_part() const { return rank_part_ ? &*rank_part_ : nullptr; }

  // By name, ascending.
  std::span<const std::string_view> names() const { return names_; }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  // As SafetensorsFile::tensor.
  Result<TensorView> tensor(std::string_view name) const;
  // The file that holds the tensor. Precondition: contains(name).
  const std::string& file_of(std::string_view name) const;
  // Where in that file its data lies, in bytes. Precondition: contains(name).
  struct Extent {
    uint64_t offset = 0;
    size_t size = 0;
  };
  Extent extent_of(std::string_view name) const;

  // Hints about a tensor's data, as MappedFile's; prefetch about bytes [begin, end) of it. Precondition:
  // contains(name).
  void prefetch(std::string_view name, size_t begin, size_t end) const;
  void release(std::string_view name) const;

  const std::string& directory() const { return directory_; }
  std::span<const std::unique_ptr<SafetensorsFile>> files() const { return files_; }
  uint64_t data_bytes() const;

 private:
  struct Place {
    const SafetensorsEntry* entry;
    const SafetensorsFile* file;
  };
  explicit Checkpoint(std::string directory) : directory_(std::move(directory)) {}
  Status open_single(const std::string& path);
  Status open_sharded(const std::string& index_path);
  Status open_rank_file(const RankFile& expected);
  Status collect_names();
  const Place* find(std::string_view name) const;

  std::string directory_;
  std::optional<RankPart> rank_part_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<Place> places_;            // by name
  std::vector<std::string_view> names_;  // of places_
};

}  // namespace fathom
