// How long the scheduler takes beside a step of the model: microseconds of plan() and commit() with 64
// running sequences of 4096 tokens, and of admissions. Run by hand: build/release/tests/scheduler_bench
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "schedule/scheduler.h"

namespace fathom {
namespace {

constexpr int64_t kContext = 4096;
constexpr int64_t kNumSequences = 64;
constexpr int64_t kNumSteps = 2000;

std::vector<int32_t> random_prompt(uint64_t seed) {
  std::vector<int32_t> prompt(kContext);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(random_bits(seed, i) % 100000);
  return prompt;
}

class Bench {
 public:
  Bench()
      : pool_(static_cast<int32_t>(kNumSequences * (kContext + kNumSteps * 8) / kDefaultBlockSize)),
        scheduler_({.max_num_seqs = kNumSequences,
                    .max_num_batched_tokens = int64_t{1} << 20,
                    .max_model_len = kContext + kNumSteps * 8},
                   pool_, KeyedHash::create().value()) {}

  void submit(uint64_t seed, int64_t max_tokens) {
    const auto ids = scheduler_.submit({.prompt = random_prompt(seed), .max_tokens = max_tokens});
    FATHOM_CHECK(ids.ok(), "{}", ids.status().message());
    ids_.push_back(ids->front());
  }

  // A step's time, the model's excepted; every draft holds.
  double step() {
    const double started = monotonic_seconds();
    const BatchPlan& plan = scheduler_.plan();
    const double planned = monotonic_seconds();
    std::vector<int32_t> tokens, counts;
    for (const Segment& segment : plan.segments) {
      const std::vector<int32_t>& drafts = scheduler_.find(segment.sequence_id)->drafts;
      tokens.insert(tokens.end(), drafts.begin(), drafts.end());
      tokens.push_back(7);
      counts.push_back(static_cast<int32_t>(drafts.size()) + 1);
    }
    const double resumed = monotonic_seconds();
    scheduler_.commit(tokens, counts);
    return planned - started + monotonic_seconds() - resumed;
  }

  void decode(const std::string& name, size_t num_drafts) {
    std::vector<double> seconds;
    for (int64_t i = 0; i < kNumSteps; ++i) {
      if (num_drafts > 0) {
        for (SequenceId id : ids_) scheduler_.set_drafts(id, std::vector<int32_t>(num_drafts, 3));
      }
      seconds.push_back(step());
    }
    report(name, seconds);
  }

  // New prompts, then the same again, one a step: hashes, and shared pages.
  void admissions() {
    for (const char* name : {"admit 4096 new tokens", "admit 4096 cached tokens"}) {
      std::vector<double> seconds;
      for (uint64_t seed = 1000; seed < 1032; ++seed) {
        submit(seed, 1);
        seconds.push_back(step());
      }
      report(name, seconds);
    }
  }

  static void report(const std::string& name, std::vector<double> seconds) {
    std::sort(seconds.begin(), seconds.end());
    constexpr double kMicro = 1e6;
    fmt::print("{:<26} median {:7.1f} us, 99 % below {:7.1f} us\n", name,
               kMicro * seconds[seconds.size() / 2], kMicro * seconds[seconds.size() * 99 / 100]);
  }

 private:
  PagePool pool_;
  Scheduler scheduler_;
  std::vector<SequenceId> ids_;
};

void run() {
  {
    Bench bench;
    bench.admissions();
  }
  Bench bench;
  for (uint64_t i = 0; i < kNumSequences; ++i) bench.submit(i, kNumSteps * 8);
  Bench::report("64 prompts at once", {bench.step()});
  bench.decode("decode 64", 0);
  bench.decode("decode 64, 3 drafts each", 3);
}

}  // namespace
}  // namespace fathom

int main() { fathom::run(); }
