// The engine on its thread, from the side of the I/O thread: whole answers, cancellation, deadlines,
// failures.
#include "server/engine_thread.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/clock.h"
#include "support/engine.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom::testing {
namespace {

class EngineThreadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_.file("model");
    write_tiny_checkpoint({.config = tiny_config(), .directory = model_});
  }

  void start(EngineThread::Loader loader = {}) {
    if (!loader) loader = [this] { return Engine::load(small_options(model_), nullptr); };
    thread_ = std::make_unique<EngineThread>(
        std::move(loader), EngineThread::Callbacks{
                               .loaded = [](const Engine&) {},
                               .report = [this](EngineReport report) { take(std::move(report)); },
                               .failed =
                                   [this](const EngineFailure& failure) {
                                     const std::lock_guard lock(mutex_);
                                     failure_ = failure.status;
                                     changed_.notify_all();
                                   },
                           });
  }

  void take(EngineReport report) {
    const std::lock_guard lock(mutex_);
    statistics_ = report.statistics;
    for (GenerationEvent& event : report.events) events_.push_back(std::move(event));
    changed_.notify_all();
  }

  template <typename Condition>
  void wait_for(Condition condition) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::minutes(1), condition));
  }

  static GenerationJob job(uint64_t ticket, int64_t max_tokens, int32_t n = 1) {
    GenerationRequest request;
    request.prompts = {{5, 6, 7}};
    request.n = n;
    request.sampling = greedy_params(max_tokens);
    const double later = monotonic_seconds() + 1000;
    return {
        .ticket = ticket, .prompts = plan_prompts(request), .queue_deadline = later, .total_deadline = later};
  }

  size_t count_ends(uint64_t ticket) const {
    return static_cast<size_t>(std::count_if(
        events_.begin(), events_.end(),
        [ticket](const GenerationEvent& event) { return event.ticket == ticket && event.ends(); }));
  }

  TempDir folder_;
  std::string model_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<GenerationEvent> events_;
  EngineStatistics statistics_;
  Status failure_;
  std::unique_ptr<EngineThread> thread_;  // ends before what its callbacks use
};

TEST_F(EngineThreadTest, EventsComeInOrder) {
  start();
  thread_->submit(job(1, 6));
  wait_for([this] { return count_ends(1) == 1; });
  ASSERT_EQ(events_.size(), 8u);
  EXPECT_EQ(events_[0].kind, GenerationEventKind::kAccepted);
  EXPECT_EQ(events_[1].kind, GenerationEventKind::kStarted);
  EXPECT_LT(events_[1].time, events_[2].time) << "the step that started it took no time";
  for (size_t i = 2; i < 8; ++i) {
    EXPECT_EQ(events_[i].kind, GenerationEventKind::kToken);
    EXPECT_GE(events_[i].time, events_[i - 1].time);
  }
  EXPECT_EQ(events_[7].finish_reason, FinishReason::kLength);
}

TEST_F(EngineThreadTest, CancellationEndsEverySequenceOnce) {
  start();
  for (uint64_t ticket = 1; ticket <= 20; ++ticket) thread_->submit(job(ticket, 200, 3));
  for (uint64_t ticket = 2; ticket <= 20; ++ticket) thread_->cancel(ticket);
  thread_->cancel(99);
  wait_for([this] {
    size_t ends = 0;
    for (uint64_t ticket = 1; ticket <= 20; ++ticket) ends += count_ends(ticket);
    return ends == 60 && statistics_.pages_used == 0;
  });
  for (uint64_t ticket = 1; ticket <= 20; ++ticket) EXPECT_EQ(count_ends(ticket), 3u);
  EXPECT_EQ(events_.back().finish_reason, FinishReason::kLength);  // ticket 1 ran to its end
}

TEST_F(EngineThreadTest, DeadlinesEndRequests) {
  start();
  GenerationJob late = job(1, 200);
  late.total_deadline = monotonic_seconds() - 1;
  thread_->submit(std::move(late));
  GenerationJob waits = job(2, 200);
  waits.queue_deadline = monotonic_seconds() - 1;
  thread_->submit(std::move(waits));
  wait_for([this] { return count_ends(1) + count_ends(2) == 2; });
  for (const GenerationEvent& event : events_) {
    if (!event.ends()) continue;
    EXPECT_TRUE(event.timed_out && event.finish_reason == FinishReason::kError);
  }
}

TEST_F(EngineThreadTest, ARefusedSequenceFailsAlone) {
  start();
  GenerationJob bad = job(1, 3);
  bad.prompts[0].request.prompt_ids = {40};  // beyond the vocabulary
  thread_->submit(std::move(bad));
  thread_->submit(job(2, 3));
  wait_for([this] { return count_ends(1) + count_ends(2) == 2; });
  for (const GenerationEvent& event : events_) {
    if (!event.ends()) continue;
    EXPECT_EQ(event.status.ok(), event.ticket == 2);
  }
}

TEST_F(EngineThreadTest, FailedLoadingIsReported) {
  start([]() -> Result<std::unique_ptr<Engine>> { return not_found("no model"); });
  wait_for([this] { return !failure_.ok(); });
  EXPECT_EQ(failure_.message(), "no model");
  start([]() -> Result<std::unique_ptr<Engine>> { throw std::bad_alloc(); });
  wait_for([this] { return failure_.code() == ErrorCode::kResourceExhausted; });
}

// Ending the thread in the middle of work leaves nothing behind (the sanitizers look).
TEST_F(EngineThreadTest, EndsInTheMiddle) {
  start();
  thread_->submit(job(1, 200, 4));
  wait_for([this] { return !events_.empty(); });
  thread_.reset();
}

}  // namespace
}  // namespace fathom::testing
