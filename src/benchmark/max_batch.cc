#include "benchmark/max_batch.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/random.h"
#include "benchmark/timed_run.h"

namespace fathom {
namespace {

Status check_case(const MaxBatchCase& wanted, int64_t max_tokens) {
  const auto& [lengths, low, high] = wanted;
  if (lengths.input < 1 || lengths.output < 2) {
    return invalid_argument("--pairs: {}x{} has no token after the first; outputs of 2 and more have one",
                            lengths.input, lengths.output);
  }
  if (low >= 1 && low <= high && high <= max_tokens) return ok_status();
  return invalid_argument(
      "--range: {}-{} is no range of batches in [1, {}], the sequences that one step can compute", low, high,
      max_tokens);
}

EngineOptions engine_options(const MaxBatchOptions& options) {
  EngineOptions engine = options.engine;
  engine.max_num_seqs = 1;
  engine.max_model_len = 1;
  for (const MaxBatchCase& wanted : options.cases) {
    engine.max_num_seqs = std::max(engine.max_num_seqs, wanted.high);
    engine.max_model_len = std::max(*engine.max_model_len, wanted.lengths.input + wanted.lengths.output);
  }
  return engine;
}

Result<std::unique_ptr<Engine>> load_engine(const MaxBatchOptions& options, ProgressSink* progress) {
  FATHOM_CHECK(!options.cases.empty(), "no cases asked for");
  for (const MaxBatchCase& wanted : options.cases) {
    FATHOM_RETURN_IF_ERROR(check_case(wanted, options.engine.max_num_batched_tokens));
  }
  return Engine::load(engine_options(options), progress);
}

Result<MaxBatchRound> run_round(Engine& engine, const MaxBatchOptions& options, const MaxBatchCase& wanted,
                                int64_t batch, ProgressSink* progress) {
  const auto [input, output] = wanted.lengths;
  MaxBatchRound round{.batch = batch};
  const EngineStatistics statistics = engine.statistics();
  const int64_t pages = statistics.pages_total / statistics.num_caches;
  const int64_t most = pages / ceil_div(input + output, options.engine.block_size) * statistics.num_caches;
  round.has_room = batch <= most;
  if (!round.has_room) return round;
  const uint64_t key = random_key(options.seed, fmt::format("max batch {} {} {}", input, output, batch));
  FATHOM_ASSIGN_OR_RETURN(
      const TimedRun run,
      run_timed(engine, {.batch = batch, .input = input, .output = output, .random_key = key}, progress));
  round.prefill_seconds = run.prefill_seconds;
  round.total_seconds = run.total_seconds;
  round.num_prefill_steps = run.num_prefill_steps;
  round.token_ms = (run.total_seconds - run.prefill_seconds) * 1000 / static_cast<double>(output - 1);
  round.is_within = round.token_ms <= options.limit_ms;
  return round;
}

Result<MaxBatchResult> search(Engine& engine, const MaxBatchOptions& options, const MaxBatchCase& wanted,
                              ProgressSink* progress) {
  MaxBatchResult result{.wanted = wanted, .rounds = {}, .best = std::nullopt};
  FATHOM_ASSIGN_OR_RETURN(const std::optional<int64_t> best,
                          largest_passing(wanted.low, wanted.high, [&](int64_t batch) -> Result<bool> {
                            FATHOM_ASSIGN_OR_RETURN(const MaxBatchRound round,
                                                    run_round(engine, options, wanted, batch, progress));
                            result.rounds.push_back(round);
                            return round.is_within;
                          }));
  for (size_t i = 0; i < result.rounds.size(); ++i) {
    if (best == result.rounds[i].batch) result.best = i;
  }
  return result;
}

}  // namespace

Result<std::optional<int64_t>> largest_passing(int64_t low, int64_t high,
                                               FunctionRef<Result<bool>(int64_t value)> passes) {
  std::optional<int64_t> largest;
  while (low <= high) {
    const int64_t middle = low + (high - low) / 2;
    FATHOM_ASSIGN_OR_RETURN(const bool passed, passes(middle));
    if (passed) {
      largest = middle;
      low = middle + 1;
    } else {
      high = middle - 1;
    }
  }
  return largest;
}

Status follow_max_batch(const MaxBatchOptions& options) {
  FATHOM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, load_engine(options, nullptr));
  return engine->follow();
}

Result<std::vector<MaxBatchResult>> find_max_batch(const MaxBatchOptions& options, ProgressSink* progress) {
  FATHOM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, load_engine(options, progress));
  // Faults the weights in; nothing of it is measured.
  const TimedRunOptions warm_up{
      .batch = 1, .input = 1, .output = 2, .random_key = random_key(options.seed, "warm up")};
  FATHOM_RETURN_IF_ERROR(run_timed(*engine, warm_up, nullptr).status());
  std::vector<MaxBatchResult> results;
  for (const MaxBatchCase& wanted : options.cases) {
    FATHOM_ASSIGN_OR_RETURN(MaxBatchResult result, search(*engine, options, wanted, progress));
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace fathom
