// When the steps of a request happened, and how many tokens it took: for the log line and for clients that
// ask.
#pragma once

#include <string>

#include "base/json.h"
#include "server/generation.h"

namespace fathom {

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompts
};

// Monotonic seconds; 0: not yet.
class AnswerTimes {
 public:
  void begin(double now) { submitted_ = now; }
  void observe(const GenerationEvent& event);

  // " prompt_tokens=3 ..", with the finish reasons given.
  std::string log_note(const Usage& usage, size_t num_sequences, const std::string& finish) const;
  // llama.cpp's "timings": counts, milliseconds and rates of prompt and answer.
  Json timings_json(const Usage& usage) const;

 private:
  double submitted_ = 0;
  double started_ = 0;
  double first_token_ = 0;
  double last_token_ = 0;
};

}  // namespace fathom
