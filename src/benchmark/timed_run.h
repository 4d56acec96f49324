// One timed batch of requests on an engine: the measurement, without any judgement.
#pragma once

#include <cstdint>
#include <vector>

#include "base/function_ref.h"
#include "base/progress.h"
#include "base/status.h"
#include "engine/engine.h"

namespace fathom {

struct TimedRunOptions {
  int64_t batch = 1;
  int64_t input = 1;
  int64_t output = 1;
  uint64_t random_key = 0;  // of the prompts; another key, other prompts
};

struct DecodeStep {
  double seconds = 0;
  int64_t num_sequences = 0;
  int64_t num_tokens = 0;  // more where drafts held
  int64_t num_keys = 0;    // that their queries met, all together
};

struct TimedRun {
  double prefill_seconds = 0;  // until every prompt has its first token
  double total_seconds = 0;
  int64_t num_prefill_steps = 0;
  std::vector<double> first_token_seconds;  // since submission, of each request, ascending
  std::vector<DecodeStep> decode_steps;     // after the prefill
};

// Greedy, without stopping at end tokens: every request gives output tokens. Prompts are distinct.
// between_phases, where given, is called once between prefill and decode, if there is a decode; the time it
// takes counts nowhere. Precondition: the engine has no work. Failure: what submit() or a step refuses.
Result<TimedRun> run_timed(Engine& engine, const TimedRunOptions& options, ProgressSink* progress,
                           FunctionRef<void()> between_phases = {});

}  // namespace fathom
