#include "benchmark/timed_run.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/random.h"

namespace fathom {
namespace {

struct RequestState {
  int64_t num_tokens = 0;
  int64_t last_step = 0;  // that gave it any
  double first_token_at = 0;
};

// What the listeners saw in one step.
struct StepCount {
  int64_t num_sequences = 0;
  int64_t num_tokens = 0;
  int64_t num_keys = 0;
};

std::vector<int32_t> random_prompt(const TimedRunOptions& options, int64_t index, int64_t vocab_size) {
  const uint64_t key = random_bits(options.random_key, static_cast<uint64_t>(index));
  std::vector<int32_t> ids(static_cast<size_t>(options.input));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(random_bits(key, i) % static_cast<uint64_t>(vocab_size));
  return ids;
}

}  // namespace

Result<TimedRun> run_timed(Engine& engine, const TimedRunOptions& options, ProgressSink* progress,
                           FunctionRef<void()> between_phases) {
  std::vector<RequestState> requests(static_cast<size_t>(options.batch));
  StepCount step;
  int64_t num_first = 0;
  int64_t num_generated = 0;
  int64_t num_steps = 0;
  Status failure;
  std::vector<std::vector<int32_t>> prompts;
  for (int64_t i = 0; i < options.batch; ++i)
    prompts.push_back(random_prompt(options, i, engine.config().vocab_size));

  const double started = monotonic_seconds();
  for (size_t i = 0; i < requests.size(); ++i) {
    Request request{.prompt_ids = std::move(prompts[i]), .sampling = {}};
    request.sampling.temperature = 0;
    request.sampling.max_tokens = options.output;
    request.sampling.ignore_eos = true;
    const auto listener = [&, i](const RequestEvent& event) {
      if (!event.status.ok()) failure = event.status;
      if (!event.token_id) return;
      RequestState& state = requests[i];
      if (state.num_tokens == 0) {
        state.first_token_at = monotonic_seconds();
        ++num_first;
      }
      // The n-th generated token comes from the query of the one before it: prompt and n - 1 tokens.
      step.num_keys += options.input + state.num_tokens;
      ++state.num_tokens;
      ++step.num_tokens;
      if (std::exchange(state.last_step, num_steps) != num_steps) ++step.num_sequences;
    };
    FATHOM_ASSIGN_OR_RETURN([[maybe_unused]] const RequestId id, engine.submit(std::move(request), listener));
  }

  TimedRun run;
  double paused = 0;
  const auto total_tokens = static_cast<uint64_t>(options.batch * options.output);
  while (engine.has_work()) {
    const bool is_prefill = num_first < options.batch;
    step = {};
    ++num_steps;
    const double begin = monotonic_seconds();
    FATHOM_RETURN_IF_ERROR(engine.step());
    const double end = monotonic_seconds();
    FATHOM_RETURN_IF_ERROR(failure);
    num_generated += step.num_tokens;
    if (is_prefill) {
      ++run.num_prefill_steps;
      run.prefill_seconds = end - started;
    } else if (step.num_tokens > 0) {
      run.decode_steps.push_back({.seconds = end - begin,
                                  .num_sequences = step.num_sequences,
                                  .num_tokens = step.num_tokens,
                                  .num_keys = step.num_keys});
    }
    if (step.num_tokens > 0) run.total_seconds = end - started - paused;
    if (progress != nullptr)
      progress->report("generating", static_cast<uint64_t>(num_generated), total_tokens);
    if (between_phases && is_prefill && num_first == options.batch && engine.has_work()) {
      const double pause = monotonic_seconds();
      between_phases();
      paused = monotonic_seconds() - pause;
    }
  }
  for (const RequestState& state : requests) {
    if (state.num_tokens != options.output) {
      return resource_exhausted("a request ended after {} of {} tokens; give more --kv-memory",
                                state.num_tokens, options.output);
    }
    run.first_token_seconds.push_back(state.first_token_at - started);
  }
  std::sort(run.first_token_seconds.begin(), run.first_token_seconds.end());
  return run;
}

}  // namespace fathom
