// Runs prompts through an engine to their ends and measures them; the commands print the results.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"

namespace fathom {

struct GeneratedText {
  std::vector<int32_t> prompt_ids;
  std::vector<int32_t> ids;
  std::string text;
  FinishReason finish_reason = FinishReason::kLength;
  Status status;               // not ok: the request failed
  double prefill_seconds = 0;  // from the call to the first token
  double decode_seconds = 0;   // from the first token to the last
};

// Called with each piece of text as it comes; index is the prompt's.
using TextSink = std::function<void(size_t index, std::string_view text)>;

// Asked between steps: true ends what is under way.
using StopCheck = std::function<bool()>;

// All prompts at once, results in the order of the prompts. sink and stop may be empty. Requests that fail
// carry their own status; an error of the engine is the result.
Result<std::vector<GeneratedText>> generate(Engine& engine, const std::vector<std::vector<int32_t>>& prompts,
                                            const SamplingParams& sampling, const TextSink& sink,
                                            const StopCheck& stop = {});

// The fields that `run --json` promises.
Json to_json(const GeneratedText& generation);

// One line: tokens, seconds and rates of the prompt and of the answer.
std::string statistics_line(const std::vector<GeneratedText>& generations, double seconds);

}  // namespace fathom
