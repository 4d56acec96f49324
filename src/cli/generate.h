// Runs prompts through an engine to their ends and measures them; the commands print the results.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"

namespace fathom {

struct Generation {
  std::vector<int32_t> prompt_ids;
  std::vector<int32_t> ids;
  std::string text;
  FinishReason finish_reason = FinishReason::kLength;
  Status status;               // not ok: the request failed
  double prefill_seconds = 0;  // from the call to the first token
  double decode_seconds = 0;   // from the first token to the last
};

// One step of the engine: how many of its tokens were an answer's first (their prompts' last part was
// computed), and how many came after it.
struct StepTime {
  double seconds = 0;
  int64_t num_first = 0;
  int64_t num_later = 0;
};

// Called with each piece of text as it comes; index is the prompt's.
using TextSink = std::function<void(size_t index, std::string_view text)>;

// All prompts at once, results in the order of the prompts. sink may be empty. Requests that fail carry their
// own status; an error of the engine is the result. steps, where given, gains the steps in their order.
Result<std::vector<Generation>> generate(Engine& engine, const std::vector<std::vector<int32_t>>& prompts,
                                         const SamplingParams& sampling, const TextSink& sink,
                                         std::vector<StepTime>* steps = nullptr);

// The fields that `run --json` promises.
Json to_json(const Generation& generation);
Json to_json(const StepTime& step);

// One line: tokens, seconds and rates of the prompt and of the answer, and what drafts brought.
std::string statistics_line(const std::vector<Generation>& generations, double seconds,
                            const SpeculationStatistics& speculation);

}  // namespace fathom
