#include "server/health_probe.h"

#include <gtest/gtest.h>

#include <future>

#include "base/clock.h"

namespace fathom {
namespace {

class HealthProbeTest : public ::testing::Test {
 protected:
  HealthProbeTest() : client_({.max_queue = 0}, 2, metrics_), probe_(client_) {}

  // An engine that is never done loading: whatever is asked of it waits.
  void start() {
    thread_ = std::make_unique<EngineThread>(
        [this]() -> Result<std::unique_ptr<Engine>> {
          release_.get_future().wait();
          return io_error("released");
        },
        EngineThread::Callbacks{.loaded = [](const Engine&) {},
                                .report = [](EngineReport) {},
                                .failed = [](const EngineFailure&) {}});
    client_.attach(thread_.get());
    client_.set_phase(EnginePhase::kReady);
  }
  void TearDown() override {
    if (thread_ != nullptr) release_.set_value();
    client_.attach(nullptr);
    thread_.reset();
  }

  HealthProbe::Done into(std::vector<ProbeOutcome>& outcomes) {
    return [&outcomes](const ProbeResult& result) { outcomes.push_back(result.outcome); };
  }
  // What the engine would say of the one generation under way.
  void deliver(FinishReason reason) {
    EngineReport report;
    report.events.push_back({.ticket = 1, .kind = GenerationEventKind::kToken, .finish_reason = reason});
    client_.deliver(report);
  }

  ServerMetrics metrics_;
  EngineClient client_;
  HealthProbe probe_;
  std::promise<void> release_;
  std::unique_ptr<EngineThread> thread_;
  std::vector<ProbeOutcome> outcomes_;
};

TEST_F(HealthProbeTest, FailsAtOnceWhereNothingCanRun) {
  EXPECT_EQ(probe_.ask(0, 1, into(outcomes_)), nullptr);
  EXPECT_EQ(outcomes_, std::vector{ProbeOutcome::kFailed});
}

TEST_F(HealthProbeTest, AllWhoAskShareOneGeneration) {
  start();
  const auto first = probe_.ask(0, 100, into(outcomes_));
  const auto second = probe_.ask(0, 100, into(outcomes_));
  EXPECT_NE(first, nullptr);
  EXPECT_EQ(client_.num_sequences(), 1);
  deliver(FinishReason::kLength);
  EXPECT_EQ(outcomes_, (std::vector{ProbeOutcome::kWorks, ProbeOutcome::kWorks}));
  EXPECT_EQ(client_.num_sequences(), 0);
}

TEST_F(HealthProbeTest, WhoLeftHearsNothing) {
  start();
  probe_.ask(0, 100, into(outcomes_)).reset();
  deliver(FinishReason::kLength);
  EXPECT_TRUE(outcomes_.empty());
}

TEST_F(HealthProbeTest, TimeIsUp) {
  start();
  const auto waiting = probe_.ask(0, 5, into(outcomes_));
  const double now = monotonic_seconds();
  probe_.tick(now);
  EXPECT_TRUE(outcomes_.empty());
  probe_.tick(now + 6);
  EXPECT_EQ(outcomes_, std::vector{ProbeOutcome::kTimeout});
  deliver(FinishReason::kLength);  // too late
  EXPECT_EQ(outcomes_.size(), 1u);
}

TEST_F(HealthProbeTest, FailuresAndFullQueues) {
  start();
  const auto waiting = probe_.ask(0, 100, into(outcomes_));
  deliver(FinishReason::kError);
  EXPECT_EQ(outcomes_, std::vector{ProbeOutcome::kFailed});
  struct Ignoring : GenerationListener {
    void on_event(const GenerationEvent&) override {}
  } ignoring;
  GenerationRequest two;
  two.prompts = {{1}};
  two.n = 2;
  const auto held = client_.start(two, ignoring);
  ASSERT_TRUE(std::holds_alternative<std::unique_ptr<Generation>>(held));
  EXPECT_TRUE(client_.is_full());
  EXPECT_EQ(probe_.ask(0, 100, into(outcomes_)), nullptr);
  EXPECT_EQ(outcomes_.back(), ProbeOutcome::kBusy);
}

TEST(EngineClientLimits, PromptsOverTheLimitAreRefused) {
  ServerMetrics metrics;
  EngineClient client({.max_prompt_tokens = 2}, 1, metrics);
  client.set_phase(EnginePhase::kReady);
  struct Ignoring : GenerationListener {
    void on_event(const GenerationEvent&) override {}
  } ignoring;
  GenerationRequest request;
  request.prompts = {{1}, {1, 2, 3}};
  const auto refused = client.start(request, ignoring);
  ASSERT_TRUE(std::holds_alternative<ApiError>(refused));
  EXPECT_EQ(std::get<ApiError>(refused).code, "context_length_exceeded");
  EXPECT_EQ(std::get<ApiError>(refused).details["n_ctx"], 2);
}

}  // namespace
}  // namespace fathom
