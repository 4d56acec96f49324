// Random checkpoints of any configuration, written as a stream: for measuring and testing at real sizes
// without the real weights. A value depends on the seed, the tensor's name and the element's index alone, so
// a tensor's bytes do not depend on threads or shards. Activations stay near 1 through all layers and router
// scores are spread. A quantised checkpoint is what quantising the float one of the same seed would give.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/status.h"
#include "checkpoint/model_config.h"
#include "model/weight_table.h"

namespace fathom {

enum class ExistingOutput {
  kRefuse,   // unless the folder is empty
  kReplace,  // config, description, index and weights in it, float or quantised, are removed first
};

struct SynthOptions {
  ModelConfig config;  // torch_dtype is what tensors are stored as, but see default_quant_type()
  std::string output;  // the folder
  uint64_t seed = 0;
  uint64_t shard_bytes = uint64_t{5} << 30;  // a shard is full before a tensor would take it over this
  int num_threads = 1;
  std::optional<std::string> tokenizer_directory;  // tokenizer and generation files are copied from here
  ExistingOutput existing_output = ExistingOutput::kRefuse;
};

struct SynthResult {
  uint64_t num_tensors = 0;  // with scales and offsets
  uint64_t num_files = 0;    // of weights
  uint64_t data_bytes = 0;
};

// Writes shards, tokenizer files, index, description (of a quantised one) and config.json, the last as the
// sign that all is there. Memory: one piece of a tensor (32 MiB) beside the weight table. Refused before
// anything is written: an output folder that is not empty, too little disk space. progress may be null.
Result<SynthResult> synthesize(const SynthOptions& options, ProgressSink* progress);

// The values of one synthetic tensor. Const: any thread may fill any part.
class SynthTensor {
 public:
  SynthTensor(const WeightSpec& spec, const ModelConfig& config, uint64_t seed);
  // Writes elements [begin, end) to out, in the config's torch_dtype.
  void fill(int64_t begin, int64_t end, void* out) const;
  // The same values quantised, rows [begin, end) of row_size elements: to out, and each row's scale to
  // scales, both from their begin on. Symmetric: scale = max|w| / 127, q = w / scale to the nearest, ties to
  // even.
  void fill_int8(int64_t begin, int64_t end, int64_t row_size, int8_t* out, float* scales) const;

 private:
  uint64_t key_;
  std::vector<float> values_;       // the 2^12 values of this tensor, rounded to the dtype
  std::vector<uint16_t> values16_;  // the same as stored, of a 16-bit dtype
};

}  // namespace fathom
