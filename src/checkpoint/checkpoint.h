// The weights of a model folder: one model.safetensors, or the shards of model.safetensors.index.json, as one
// set of named tensors. Only safetensors files are read. Not here: which tensors a model needs
// (model/weight_table.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/safetensors.h"
#include "tensor/view.h"

namespace fathom {

// Const after opening: any thread may read. Views stay valid as long as the checkpoint.
class Checkpoint {
 public:
  // Maps every file and checks every header; reads no data. The set of tensors must be the same in the index
  // and in the files. Errors name the folder or file and what to do about it.
  static Result<std::unique_ptr<Checkpoint>> open(const std::string& directory);

  // By name, ascending.
  std::span<const std::string_view> names() const { return names_; }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  // As SafetensorsFile::tensor.
  Result<TensorView> tensor(std::string_view name) const;
  // The file that holds the tensor. Precondition: contains(name).
  const std::string& file_of(std::string_view name) const;

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
  Status collect_names();
  const Place* find(std::string_view name) const;

  std::string directory_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<Place> places_;            // by name
  std::vector<std::string_view> names_;  // of places_
};

}  // namespace fathom
