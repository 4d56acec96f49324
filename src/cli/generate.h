// Requests through an engine, all together, and what `run` reports of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
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

// One step of the engine: how many of its tokens were an answer's first (their prompts' last part was
// computed), and how many came after it.
struct StepTime {
  double seconds = 0;
  int64_t num_first = 0;
  int64_t num_later = 0;
};

// Called with each piece of text as it comes; index is the request's.
using TextSink = std::function<void(size_t index, std::string_view text)>;

// What else happens on the way; each may be empty.
struct GenerateHooks {
  TextSink text = {};
  std::function<bool()> stop = {};         // asked between steps: true ends what is under way
  std::vector<StepTime>* steps = nullptr;  // gains the steps in their order
};

// All requests at once, results in their order. Requests that fail carry their own status; an error of the
// engine is the result.
Result<std::vector<GeneratedText>> generate(Engine& engine, const std::vector<Request>& requests,
                                            const GenerateHooks& hooks = {});

struct ReportOptions {
  bool json = false;   // one document on stdout: an object, or an array where there are several
  bool stats = false;  // a line on stderr
};
// Prints what is asked for, and returns the first error of a request.
Status report(const std::vector<GeneratedText>& texts, const ReportOptions& options, double seconds,
              const SpeculationStatistics& speculation);

// 0 where no time passed.
double per_second(int64_t count, double seconds);

// The fields that `run --json` promises.
Json to_json(const GeneratedText& text);
// The file of `run --steps`.
Status write_steps(const std::string& path, const std::vector<StepTime>& steps);

// One line: tokens, seconds and rates of the prompt and of the answer, and what became of drafts.
std::string statistics_line(const std::vector<GeneratedText>& texts, double seconds,
                            const SpeculationStatistics& speculation);

}  // namespace fathom
