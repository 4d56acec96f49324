// The floating weights of a checkpoint as a stream of values: read ahead of use, given back behind it.
#pragma once

#include <memory>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/stored_layout.h"
#include "model/weight_stream.h"

namespace fathom {

class SourceWeights {
 public:
  // Both are borrowed; the weights' names, shapes and dtypes are those of the checkpoint.
  SourceWeights(const Checkpoint& checkpoint, const StoredLayout& layout);

  // Weights are best opened in the order of the layout's files.
  std::unique_ptr<WeightValues> open(size_t weight);

 private:
  const Checkpoint& checkpoint_;
  const StoredLayout& layout_;
  MappedFile::FileCache file_cache_ = MappedFile::FileCache::kKeep;
  std::vector<size_t> order_;  // of the layout's files
  size_t num_ahead_ = 0;       // of them asked for
  uint64_t ahead_bytes_ = 0;
  uint64_t opened_bytes_ = 0;
};

}  // namespace fathom
