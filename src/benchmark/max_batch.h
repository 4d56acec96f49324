// The largest batch whose time per generated token stays within a limit, found by halving a range of batches.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/progress.h"
#include "benchmark/model_bench.h"
#include "engine/engine.h"

namespace fathom {

struct MaxBatchCase {
  LengthPair lengths;
  int64_t low = 1;  // batches from low to high are considered, both >= 1
  int64_t high = 1;
};

struct MaxBatchOptions {
  EngineOptions engine;  // max_num_seqs and max_model_len are replaced by what the cases need
  std::vector<MaxBatchCase> cases;
  double limit_ms = 50;  // of a token after the first
  uint64_t seed = 0;
};

struct MaxBatchRound {
  int64_t batch = 0;
  bool has_room = true;  // false: the latent cache is too small for the batch, and nothing was run
  double token_ms = 0;   // all time after the prefill / (output - 1)
  double prefill_seconds = 0;
  double total_seconds = 0;
  int64_t num_prefill_steps = 0;
  bool is_within = false;
};

struct MaxBatchResult {
  MaxBatchCase wanted;
  std::vector<MaxBatchRound> rounds;  // in the order they were run
  std::optional<size_t> best;         // index of the round of the largest batch within the limit
};

// One result a case. Failure: a case that the options or the model cannot hold, names the option; anything
// that loading or a step reports. progress may be null.
Result<std::vector<MaxBatchResult>> find_max_batch(const MaxBatchOptions& options, ProgressSink* progress);
// What the ranks other than 0 do meanwhile.
Status follow_max_batch(const MaxBatchOptions& options);

// The largest value in [low, high] that passes, if those that pass are the smallest; asks for the middle of
// what is left. Its errors are the test's.
Result<std::optional<int64_t>> largest_passing(int64_t low, int64_t high,
                                               FunctionRef<Result<bool>(int64_t value)> passes);

}  // namespace fathom
