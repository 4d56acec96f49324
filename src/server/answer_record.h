// What an answer under way took so far: tokens, times and ends, for the log line and for clients that ask.
// One thread.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "server/generation.h"

namespace fathom {

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompts
};

class AnswerRecord {
 public:
  // n: choices of each prompt.
  void begin(int64_t prompt_tokens, size_t num_sequences, int32_t n);
  // Every event that is no failure, in order.
  void observe(const GenerationEvent& event);
  // A sequence that ends otherwise.
  void end(size_t index, FinishReason reason) { ends_[index] = reason; }

  const Usage& usage() const { return usage_; }
  double begin_time() const { return submitted_; }  // monotonic seconds

  // " prompt_tokens=3 ..", for Exchange::log_note.
  std::string log_note() const;
  // llama.cpp's "timings": counts, milliseconds and rates of prompt and answer.
  Json timings_json() const;

 private:
  Usage usage_;
  int32_t n_ = 1;
  std::vector<FinishReason> ends_;  // [sequences]
  // Monotonic seconds; 0: not yet.
  double submitted_ = 0;
  double started_ = 0;
  double first_token_ = 0;
  double last_token_ = 0;
};

}  // namespace fathom
