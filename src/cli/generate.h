// Runs requests through an engine to their ends, measures them and prints the figures.
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

// Called with each piece of text as it comes; index is the request's.
using TextSink = std::function<void(size_t index, std::string_view text)>;

// All requests at once, results in their order. sink may be empty. Requests that fail carry their
// own status; an error of the engine is the result.
Result<std::vector<Generation>> generate(Engine& engine, const std::vector<Request>& requests,
                                         const TextSink& sink);

struct ReportOptions {
  bool json = false;   // one document on stdout: an object, or an array where there are several
  bool stats = false;  // a line on stderr
};
// Prints what is asked for, and returns the first error of a request.
Status report(const std::vector<Generation>& generations, const ReportOptions& options, double seconds);

// The fields that `run --json` promises.
Json to_json(const Generation& generation);

// One line: tokens, seconds and rates of the prompt and of the answer.
std::string statistics_line(const std::vector<Generation>& generations, double seconds);

}  // namespace fathom
