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
#include "model/stored_layout.h"
#include "model/weight_stream.h"
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
  uint64_t shard_bytes = LayoutOptions().shard_bytes;
  int64_t group_size = LayoutOptions().group_size;  // of int4
  int num_threads = 1;
  // Greedy text repeats itself after so many tokens, at least 1; 0: it does not. Tokens stand in cycles of
  // this length by their ids, and the head's row of a token is the embedding of the one before it, which a
  // token's last hidden state is nearer to than to any other, at a few hundred hidden dimensions or more. All
  // weights are what they are without it, are read and multiplied, but for the head's.
  int64_t repeat_after = 0;
  std::optional<std::string> tokenizer_directory;  // tokenizer and generation files are copied from here
  ExistingOutput existing_output = ExistingOutput::kRefuse;
};

struct SynthResult {
  uint64_t num_tensors = 0;  // with scales and offsets
  uint64_t num_files = 0;    // of weights
  uint64_t data_bytes = 0;
};

// Writes shards, tokenizer files, index, description (of a quantised one) and config.json, the last as the
// sign that all is there. Memory: a few pieces of tensors (16 MiB) beside the weight table. Refused before
// anything is written: an output folder that is not empty, too little disk space, int4 of an odd number of
// inputs. progress may be null.
Result<SynthResult> synthesize(const SynthOptions& options, ProgressSink* progress);

// The token that a model with this repeat_after has before `token`.
int64_t token_before(int64_t token, int64_t repeat_after, int64_t vocab_size);

// The values of one synthetic tensor.
class SynthTensor : public WeightValues {
 public:
  SynthTensor(const WeightSpec& spec, const ModelConfig& config, uint64_t seed);
  void copy(int64_t begin, int64_t end, std::byte* out) const override;
  void read_row(int64_t row, std::span<float> out) const override;

 private:
  uint64_t key_;
  std::vector<float> values_;       // the 2^12 values of this tensor, rounded to the dtype
  std::vector<uint16_t> values16_;  // the same as stored, of a 16-bit dtype
};

}  // namespace fathom
