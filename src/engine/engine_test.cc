// The engine from the outside on tiny models: refusals, ends, cancellation, listeners that act, poisoned
// weights.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "checkpoint/checkpoint.h"
#include "support/tiny_engine.h"

namespace fathom::testing {
namespace {

class EngineTest : public TinyEngineTest {
 protected:
  Status refusal(std::vector<int32_t> ids, const SamplingParams& sampling) {
    const auto result = engine_->submit({std::move(ids), sampling}, [](const RequestEvent&) {});
    return result.status();
  }
};

TEST_F(EngineTest, RefusesWhatItCannotServe) {
  EXPECT_NE(refusal({}, greedy_params(1)).message().find("empty"), std::string::npos);
  EXPECT_EQ(refusal({1, 40}, greedy_params(1)).message(), "prompt: token id 40 is outside [0, 40)");
  EXPECT_EQ(refusal({-1}, greedy_params(1)).message(), "prompt: token id -1 is outside [0, 40)");
  EXPECT_NE(refusal(std::vector<int32_t>(256, 3), greedy_params(1)).message().find("256"), std::string::npos);
  SamplingParams hot = greedy_params(1);
  hot.temperature = 99;
  EXPECT_NE(refusal({1}, hot).message().find("temperature"), std::string::npos);
  SamplingParams stops = greedy_params(1);
  stops.stop_strings = {"x"};
  EXPECT_NE(refusal({1}, stops).message().find("tokenizer"), std::string::npos);
  EXPECT_FALSE(engine_->has_work());
}

// A full context ends with "length"; the longest prompt still gets one token.
TEST_F(EngineTest, EndsAtTheContextsEnd) {
  for (const size_t prompt_len : {size_t{200}, size_t{255}}) {
    FinishReason reason = FinishReason::kNone;
    size_t num_tokens = 0;
    ASSERT_TRUE(engine_
                    ->submit({std::vector<int32_t>(prompt_len, 3), greedy_params(1000)},
                             [&](const RequestEvent& event) {
                               num_tokens += event.token_id.has_value();
                               reason = event.finish_reason;
                             })
                    .ok());
    while (engine_->has_work()) ASSERT_TRUE(engine_->step().ok());
    EXPECT_EQ(num_tokens, 256 - prompt_len);
    EXPECT_EQ(reason, FinishReason::kLength);
  }
  EXPECT_EQ(engine_->statistics().pages_used, 0);
}

TEST_F(EngineTest, StopTokensEndWithStop) {
  const Answer free_run = run_all(*engine_, {{{5, 6}, greedy_params(20)}})[0];
  SamplingParams sampling = greedy_params(20);
  sampling.stop_token_ids = {free_run.ids[3]};
  FinishReason reason = FinishReason::kNone;
  std::vector<int32_t> ids;
  ASSERT_TRUE(engine_
                  ->submit({{5, 6}, sampling},
                           [&](const RequestEvent& event) {
                             ids.push_back(*event.token_id);
                             reason = event.finish_reason;
                           })
                  .ok());
  while (engine_->has_work()) ASSERT_TRUE(engine_->step().ok());
  EXPECT_EQ(reason, FinishReason::kStop);
  EXPECT_EQ(ids.back(), free_run.ids[3]);
  EXPECT_LE(ids.size(), 4u);
}

// No end token is drawn before min_tokens, so the answer goes on with another one.
TEST_F(EngineTest, MinTokensPutsOffTheEnd) {
  const Answer free_run = run_all(*engine_, {{{5, 6}, greedy_params(20)}})[0];
  SamplingParams sampling = greedy_params(20);
  sampling.stop_token_ids = {free_run.ids[3]};
  sampling.min_tokens = 8;
  const Answer late = run_all(*engine_, {{{5, 6}, sampling}})[0];
  EXPECT_GE(late.ids.size(), 9u);
  for (size_t i = 0; i < 8; ++i) EXPECT_NE(late.ids[i], free_run.ids[3]);
}

TEST_F(EngineTest, LogitBiasReachesTheSampler) {
  SamplingParams sampling = greedy_params(5);
  sampling.logit_bias = {{17, 100}};
  EXPECT_EQ(run_all(*engine_, {{{5, 6}, sampling}})[0].ids, std::vector<int32_t>(5, 17));
  sampling.logit_bias = {{40, 1}};
  EXPECT_EQ(refusal({5}, sampling).message(), "logit_bias: token id 40 is outside [0, 40)");
}

TEST_F(EngineTest, CancelEndsAtOnceAndDisturbsNobody) {
  const Answer want = run_all(*engine_, {{{5, 6}, greedy_params(30)}})[0];
  Answer got;
  int cancelled = 0;
  ASSERT_TRUE(engine_
                  ->submit({{5, 6}, greedy_params(30)},
                           [&](const RequestEvent& event) {
                             got.ids.push_back(*event.token_id);
                             got.logprobs.push_back(event.logprob.value_or(0));
                           })
                  .ok());
  const auto victim = engine_->submit({{7, 8, 9}, greedy_params(100)}, [&](const RequestEvent& event) {
    cancelled += event.finish_reason == FinishReason::kCancelled;
  });
  ASSERT_TRUE(victim.ok());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(engine_->step().ok());
  engine_->cancel(*victim);
  EXPECT_EQ(cancelled, 1);
  engine_->cancel(*victim);
  engine_->cancel(12345);
  while (engine_->has_work()) ASSERT_TRUE(engine_->step().ok());
  EXPECT_EQ(cancelled, 1);
  EXPECT_EQ(got, want);
}

// A listener that cancels its neighbour and submits anew from inside a step.
TEST_F(EngineTest, ListenersMayActOnTheEngine) {
  RequestId second = 0;
  int64_t submitted = 0, finished = 0;
  const RequestListener count_end = [&](const RequestEvent& event) {
    finished += event.finish_reason != FinishReason::kNone;
  };
  const RequestListener actor = [&](const RequestEvent& event) {
    count_end(event);
    engine_->cancel(second);
    for (int i = 0; i < 40 && submitted < 200; ++i, ++submitted) {
      ASSERT_TRUE(
          engine_->submit({{static_cast<int32_t>(submitted % 40)}, greedy_params(3)}, count_end).ok());
    }
  };
  ASSERT_TRUE(engine_->submit({{5, 6}, greedy_params(8)}, actor).ok());
  second = *engine_->submit({{7, 8}, greedy_params(50)}, count_end);
  while (engine_->has_work()) ASSERT_TRUE(engine_->step().ok());
  EXPECT_EQ(submitted, 200);
  EXPECT_EQ(finished, 202);
}

// NaN in the row of token 7 of the embedding: requests that hold token 7 fail, the others are as before.
TEST_F(EngineTest, NonFiniteLogitsFailTheirRequestAlone) {
  const Answer want = run_all(*engine_, {{{5, 6}, greedy_params(10)}})[0];
  const std::string poisoned = folder_.file("poisoned");
  write_tiny_checkpoint({.config = tiny_config(), .directory = poisoned});
  {
    const auto checkpoint = Checkpoint::open(poisoned);
    ASSERT_TRUE(checkpoint.ok());
    const auto view = (*checkpoint)->tensor("model.embed_tokens.weight");
    ASSERT_TRUE(view.ok());
    const auto* file_begin = (*checkpoint)->files()[0]->path().c_str();
    const auto bytes = read_file(file_begin, 1 << 24);
    ASSERT_TRUE(bytes.ok());
    const size_t row_bytes = 16 * dtype_bytes(view->dtype);
    const std::string row(static_cast<const char*>(view->data) + 7 * row_bytes, row_bytes);
    const size_t at = bytes->find(row);
    ASSERT_NE(at, std::string::npos);
    std::fstream file(file_begin, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file << std::string(row_bytes, '\xff');
  }
  const auto engine = load_engine(small_options(poisoned));
  ASSERT_NE(engine, nullptr);
  Status failure;
  FinishReason reason = FinishReason::kNone;
  ASSERT_TRUE(engine
                  ->submit({{3, 7}, greedy_params(10)},
                           [&](const RequestEvent& event) {
                             failure = event.status;
                             reason = event.finish_reason;
                           })
                  .ok());
  SamplingParams careful = greedy_params(10);
  EXPECT_EQ(run_all(*engine, {{{5, 6}, careful}})[0], want);
  EXPECT_EQ(reason, FinishReason::kError);
  EXPECT_FALSE(failure.ok());
  EXPECT_EQ(engine->statistics().pages_used, 0);
}

TEST_F(EngineTest, RefusesModelsAndOptionsThatDoNotFit) {
  EngineOptions options = small_options(model_);
  options.max_model_len = 257;
  EXPECT_EQ(Engine::load(options, nullptr).status().message(),
            "--max-model-len: 257 is over the model's max_position_embeddings 256");
  options = small_options(model_);
  options.kv_memory_bytes = 1;
  EXPECT_NE(Engine::load(options, nullptr).status().message().find("--kv-memory"), std::string::npos);
  options = small_options(model_);
  options.kv_memory_bytes = uint64_t{1} << 55;
  options.block_size = 4096;
  EXPECT_NE(Engine::load(options, nullptr).status().message().find("out of memory foreseen"),
            std::string::npos);
}

TEST_F(EngineTest, ScoreRefusesWhatDoesNotFit) {
  const auto sink = [](int64_t, std::span<const float>) { return ok_status(); };
  EXPECT_FALSE(engine_->score({}, sink).ok());
  EXPECT_FALSE(engine_->score(std::vector<int32_t>{1, 99}, sink).ok());
  EXPECT_FALSE(engine_->score(std::vector<int32_t>(257, 1), sink).ok());
  EXPECT_TRUE(engine_->score(std::vector<int32_t>(256, 1), sink).ok());
  const auto failing = [](int64_t, std::span<const float>) { return io_error("disk full"); };
  EXPECT_EQ(engine_->score(std::vector<int32_t>{1, 2}, failing).message(), "disk full");
  EXPECT_EQ(engine_->statistics().pages_used, 0);
}

}  // namespace
}  // namespace fathom::testing
