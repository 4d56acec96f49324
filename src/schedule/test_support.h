// What tests of the scheduler share. Included by tests only.
#pragma once

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "schedule/scheduler.h"

namespace fathom {

inline KeyedHash test_hash() { return KeyedHash::create().value(); }

// first, first + 1, ...
inline std::vector<int32_t> make_prompt(int64_t length, int32_t first = 0) {
  std::vector<int32_t> prompt(static_cast<size_t>(length));
  std::iota(prompt.begin(), prompt.end(), first);
  return prompt;
}

// The id of one sequence, with a prompt that begins like no other.
inline SequenceId submit_one(Scheduler& scheduler, int64_t prompt_len, int64_t max_tokens,
                             int32_t priority = 0) {
  static int32_t first = 0;
  first += 100000;
  return scheduler
      .submit({.prompt = make_prompt(prompt_len, first), .max_tokens = max_tokens, .priority = priority})
      .value()
      .front();
}

// Commits token 7 for every sequence whose logits are wanted; no draft holds.
inline void commit_all(Scheduler& scheduler, const BatchPlan& plan) {
  std::vector<int32_t> counts;
  for (const Segment& segment : plan.segments) {
    if (segment.num_logits > 0) counts.push_back(1);
  }
  scheduler.commit(std::vector<int32_t>(counts.size(), 7), counts);
  const Status status = scheduler.check_integrity();
  ASSERT_TRUE(status.ok()) << status.message();
}

// "id:begin-end" per segment, with a star for each row of logits; "from>to:rows" per copy before them.
inline std::string describe(const BatchPlan& plan) {
  std::string text;
  for (const PageCopy& copy : plan.copies)
    text += fmt::format("{}>{}:{} ", copy.from, copy.to, copy.num_tokens);
  for (const Segment& segment : plan.segments)
    text += fmt::format("{}:{}-{}{} ", segment.sequence_id, segment.begin, segment.end,
                        std::string(static_cast<size_t>(segment.num_logits), '*'));
  if (!text.empty()) text.pop_back();
  return text;
}

// Plans and commits while `going` says so, at most 1000 steps.
template <typename Going>
void run_while(Scheduler& scheduler, Going going) {
  for (int num_steps = 0; going(); ++num_steps) {
    ASSERT_LT(num_steps, 1000);
    commit_all(scheduler, scheduler.plan());
  }
}

}  // namespace fathom
