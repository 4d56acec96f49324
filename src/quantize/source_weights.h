// The floating weights of a checkpoint as a stream of values: read once, ahead of use and past the system's
// cache.
#pragma once

#include <memory>

#include "checkpoint/checkpoint.h"
#include "checkpoint/tensor_stream.h"
#include "model/stored_layout.h"
#include "model/weight_stream.h"

namespace fathom {

class SourceWeights {
 public:
  // Both are borrowed; the weights' names, shapes and dtypes are those of the checkpoint.
  SourceWeights(const Checkpoint& checkpoint, const StoredLayout& layout)
      : checkpoint_(checkpoint), layout_(layout) {}

  // In the order of the layout's files, from any of them on, each once. The values are read already.
  Result<std::unique_ptr<WeightValues>> open(size_t weight);

 private:
  void begin_at(size_t weight);

  const Checkpoint& checkpoint_;
  const StoredLayout& layout_;
  std::unique_ptr<TensorStream> stream_;  // from the first weight on that was opened
};

}  // namespace fathom
