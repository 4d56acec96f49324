#include "benchmark/timed_run.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "benchmark/model_bench.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

class TimedRunTest : public ::testing::Test {
 protected:
  void SetUp() override { testing::write_tiny_checkpoint({testing::tiny_config(), dir_.path()}); }

  EngineOptions engine_options() const {
    EngineOptions options;
    options.model_dir = dir_.path();
    options.block_size = 16;
    options.max_num_seqs = 4;
    options.max_num_batched_tokens = 8;
    options.num_threads = 1;
    options.speculation = Speculation::kOff;
    options.step_length = StepLength::kLongest;
    return options;
  }

  testing::TempDir dir_;
};

TEST_F(TimedRunTest, CountsStepsTokensAndKeys) {
  const auto engine = Engine::load(engine_options(), nullptr);
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  const auto run = run_timed(**engine, {.batch = 1, .input = 20, .output = 4, .random_key = 1}, nullptr);
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_EQ(run->num_prefill_steps, 3);  // 8 + 8 + 4
  ASSERT_EQ(run->decode_steps.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(run->decode_steps[i].num_sequences, 1);
    EXPECT_EQ(run->decode_steps[i].num_keys, 21 + static_cast<int64_t>(i));
    EXPECT_GT(run->decode_steps[i].seconds, 0);
  }
  EXPECT_EQ(run->first_token_seconds.size(), 1u);
  EXPECT_GE(run->total_seconds, run->prefill_seconds);
}

TEST_F(TimedRunTest, SeveralRequests) {
  const auto engine = Engine::load(engine_options(), nullptr);
  ASSERT_TRUE(engine.ok());
  const auto run = run_timed(**engine, {.batch = 3, .input = 2, .output = 5, .random_key = 1}, nullptr);
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_EQ(run->num_prefill_steps, 1);
  ASSERT_EQ(run->decode_steps.size(), 4u);
  EXPECT_EQ(run->decode_steps[0].num_sequences, 3);
  EXPECT_EQ(run->decode_steps[0].num_keys, 9);
  EXPECT_EQ(run->first_token_seconds.size(), 3u);
}

TEST_F(TimedRunTest, BetweenThePhasesNoTimeCounts) {
  constexpr double kPause = 0.2;
  const auto engine = Engine::load(engine_options(), nullptr);
  ASSERT_TRUE(engine.ok());
  int num_calls = 0;
  const auto pause = [&] {
    ++num_calls;
    std::this_thread::sleep_for(std::chrono::duration<double>(kPause));
  };
  const double begin = monotonic_seconds();
  const auto run =
      run_timed(**engine, {.batch = 2, .input = 12, .output = 3, .random_key = 1}, nullptr, pause);
  const double wall = monotonic_seconds() - begin;
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_EQ(num_calls, 1);
  EXPECT_LE(run->total_seconds, wall - kPause);
  EXPECT_LE(run->prefill_seconds, run->total_seconds);
  ASSERT_TRUE(
      run_timed(**engine, {.batch = 1, .input = 4, .output = 1, .random_key = 1}, nullptr, pause).ok());
  EXPECT_EQ(num_calls, 1);  // no decode, nothing between
}

TEST_F(TimedRunTest, RefusalsOfTheEngineComeBack) {
  const auto engine = Engine::load(engine_options(), nullptr);
  ASSERT_TRUE(engine.ok());
  const auto run = run_timed(**engine, {.batch = 1, .input = 256, .output = 1, .random_key = 1}, nullptr);
  EXPECT_EQ(run.status().code(), ErrorCode::kInvalidArgument);
}

TEST_F(TimedRunTest, AModelsRowsComeInOrderAndUnderTheRoof) {
  ModelBenchOptions options{.engine = engine_options()};
  options.engine.max_num_batched_tokens = 64;
  options.pairs = {{.input = 40, .output = 3}, {.input = 5, .output = 1}};
  options.batches = {1, 2};
  options.num_repeats = 3;
  options.machine_seconds = 1e-3;
  options.read_bytes = uint64_t{1} << 20;
  const auto report = bench_model(options, nullptr);
  ASSERT_TRUE(report.ok()) << report.status().message();
  ASSERT_EQ(report->rows.size(), 4u);
  EXPECT_EQ(report->rows[1].lengths.input, 40);
  EXPECT_EQ(report->rows[1].batch, 2);
  for (const ModelBenchRow& row : report->rows) {
    EXPECT_EQ(row.num_preemptions, 0);
    EXPECT_EQ(row.decode_tps.has_value(), row.lengths.output > 1);
    EXPECT_LE(row.prefill_tps.min, row.prefill_tps.median);
    EXPECT_LE(row.prefill_tps.median, row.prefill_tps.max);
    if (detect_cpu_features().avx2) {
      ASSERT_TRUE(row.roof_fraction_prefill.has_value());
      EXPECT_TRUE(row.prefill_limit.has_value());
      EXPECT_LE(row.roof_fraction_prefill->min, row.roof_fraction_prefill->median);
      EXPECT_LE(row.roof_fraction_prefill->median, row.roof_fraction_prefill->max);
    }
    EXPECT_GT(row.read_gb_per_s.min, 0);
    ASSERT_EQ(row.roof_fraction_decode.has_value(), row.lengths.output > 1);
    if (row.roof_fraction_decode) {
      // Each run is held against its own ceiling, which may be any of the repeats'. Quotients of the same two
      // numbers in other units round differently.
      constexpr double kRounding = 1 + 1e-12;
      EXPECT_GE(row.roof_fraction_decode->min * kRounding, row.decode_gb_per_s->min / row.read_gb_per_s.max);
      EXPECT_LE(row.roof_fraction_decode->max, row.decode_gb_per_s->max / row.read_gb_per_s.min * kRounding);
      EXPECT_GT(row.decode_step.weights, 0);
      EXPECT_GT(row.decode_step.cache, 0);
    }
  }
  options.batches = {65};
  EXPECT_EQ(bench_model(options, nullptr).status().code(), ErrorCode::kInvalidArgument);
}

TEST_F(TimedRunTest, NoRowFindsPromptsOfAnother) {
  ModelBenchOptions options{.engine = engine_options()};
  options.pairs = {{.input = 40, .output = 2}, {.input = 40, .output = 2}, {.input = 60, .output = 2}};
  options.batches = {2, 2};
  options.num_repeats = 2;
  options.machine_seconds = 1e-3;
  options.read_bytes = uint64_t{1} << 20;
  const auto report = bench_model(options, nullptr);
  ASSERT_TRUE(report.ok()) << report.status().message();
  ASSERT_EQ(report->rows.size(), 6u);
  for (const ModelBenchRow& row : report->rows) EXPECT_EQ(row.num_cached_tokens, 0);
}

}  // namespace
}  // namespace fathom
