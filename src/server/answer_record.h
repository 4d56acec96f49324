// What the log says of an answer: tokens, times and ends. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/generation.h"

namespace fathom {

class AnswerRecord {
 public:
  void submit(int64_t prompt_tokens, size_t num_sequences);
  // Every event of the request, in order.
  void observe(const GenerationEvent& event);

  // Monotonic seconds; 0: not yet.
  double submitted() const { return submitted_; }

  // " prompt_tokens=3 ...", for Exchange::log_note.
  std::string log_note() const;

 private:
  int64_t prompt_tokens_ = 0;
  int64_t cached_tokens_ = 0;
  int64_t output_tokens_ = 0;
  double submitted_ = 0;
  double started_ = 0;
  double first_token_ = 0;
  double last_token_ = 0;
  std::vector<FinishReason> ends_;  // [sequences]
};

}  // namespace fathom
