// D1: a request's tokens and log-probabilities have the same bits whatever runs beside it and however it is
// cut.
#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "support/engine.h"
#include "support/golden.h"

namespace fathom::testing {
namespace {

const char* const kVariants[] = {"lite_like", "q_lora_groups", "odd_sizes"};

std::vector<int32_t> random_prompt(uint64_t seed, int64_t length, int64_t vocab_size) {
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(random_bits(seed, i) % static_cast<uint64_t>(vocab_size));
  }
  return ids;
}

std::vector<Request> mixed_requests(int64_t count, int64_t vocab_size) {
  std::vector<Request> requests;
  for (int64_t i = 0; i < count; ++i) {
    SamplingParams sampling = greedy_params(3 + i % 11);
    sampling.temperature = i % 3 == 0 ? 0 : 0.9;
    sampling.top_p = 0.95;
    sampling.seed = static_cast<uint64_t>(i);
    requests.push_back({random_prompt(static_cast<uint64_t>(i), 1 + (i * 37) % 90, vocab_size), sampling});
  }
  return requests;
}

std::vector<Answer> run_alone(Engine& engine, const std::vector<Request>& requests) {
  std::vector<Answer> answers;
  for (const Request& request : requests) answers.push_back(run_all(engine, {request})[0]);
  return answers;
}

TEST(Determinism, BatchEqualsSingles) {
  for (const char* variant : kVariants) {
    for (int64_t count : {2, 7, 64}) {
      EngineOptions options = small_options(golden_dir(variant));
      options.max_num_seqs = 64;
      const auto engine = load_engine(options);
      ASSERT_NE(engine, nullptr);
      const auto requests = mixed_requests(count, engine->config().vocab_size);
      EXPECT_EQ(run_all(*engine, requests), run_alone(*engine, requests)) << variant << " batch of " << count;
    }
  }
}

TEST(Determinism, ChunksEqualTheWhole) {
  for (const char* variant : kVariants) {
    std::vector<std::vector<Answer>> runs;
    for (int64_t chunk : {1, 16, 50, 512}) {
      EngineOptions options = small_options(golden_dir(variant));
      options.max_num_batched_tokens = chunk;
      options.max_num_seqs = std::min<int64_t>(chunk, 8);
      const auto engine = load_engine(options);
      ASSERT_NE(engine, nullptr);
      runs.push_back(run_all(*engine, mixed_requests(6, engine->config().vocab_size)));
      EXPECT_EQ(runs.back(), runs.front()) << variant << " chunk " << chunk;
    }
  }
}

TEST(Determinism, ThreadsChangeNothing) {
  for (const char* variant : kVariants) {
    std::vector<std::vector<Answer>> runs;
    for (int threads : {1, 2, 3, 5}) {
      EngineOptions options = small_options(golden_dir(variant));
      options.num_threads = threads;
      const auto engine = load_engine(options);
      ASSERT_NE(engine, nullptr);
      runs.push_back(run_all(*engine, mixed_requests(5, engine->config().vocab_size)));
      EXPECT_EQ(runs.back(), runs.front()) << variant << " threads " << threads;
    }
  }
}

// So few pages that running requests lose theirs and are recomputed.
TEST(Determinism, PreemptionChangesNothing) {
  for (const char* variant : kVariants) {
    EngineOptions options = small_options(golden_dir(variant));
    options.max_model_len = 128;
    const auto roomy = load_engine(options);
    ASSERT_NE(roomy, nullptr);
    std::vector<Request> requests;
    for (uint64_t i = 0; i < 6; ++i) {
      requests.push_back(
          {random_prompt(i, 30 + static_cast<int64_t>(i), roomy->config().vocab_size), greedy_params(60)});
    }
    const ModelConfig& config = roomy->config();
    const int64_t token_bytes =
        config.num_hidden_layers * (config.kv_lora_rank + config.qk_rope_head_dim) * 4;
    options.kv_cache_dtype = DType::kFloat32;
    options.kv_memory_bytes = static_cast<uint64_t>(12 * options.block_size * token_bytes);
    const auto tight = load_engine(options);
    ASSERT_NE(tight, nullptr);
    options.kv_memory_bytes.reset();
    const auto plenty = load_engine(options);
    ASSERT_NE(plenty, nullptr);
    EXPECT_EQ(run_all(*tight, requests), run_all(*plenty, requests)) << variant;
    EXPECT_GT(tight->statistics().num_preemptions, 0);
    EXPECT_EQ(plenty->statistics().num_preemptions, 0);
    EXPECT_EQ(tight->statistics().pages_used, 0);
  }
}

// Generated tokens go through the absorbed form, a prompt's through the expanded one: fed back as a prompt,
// the same tokens must have the same likelihoods up to float32 rounding.
TEST(Forms, AbsorbedEqualsExpanded) {
  for (const std::string& variant : golden_variants()) {
    if (variant == "long_positions") continue;  // its greedy continuation is a golden test already
    EngineOptions options = small_options(golden_dir(variant));
    options.dtype = DType::kFloat32;
    const auto engine = load_engine(options);
    ASSERT_NE(engine, nullptr);
    const auto vocab_size = static_cast<size_t>(engine->config().vocab_size);
    std::vector<int32_t> ids = random_prompt(5, 20, engine->config().vocab_size);
    const Answer answer = run_all(*engine, {{ids, greedy_params(40)}})[0];
    const size_t prompt_len = ids.size();
    ids.insert(ids.end(), answer.ids.begin(), answer.ids.end());
    const std::vector<float> logits = score_all(*engine, ids);
    for (size_t i = 0; i < answer.ids.size(); ++i) {
      const auto row = std::span(logits).subspan((prompt_len + i - 1) * vocab_size, vocab_size);
      const double largest = *std::max_element(row.begin(), row.end());
      double sum = 0;
      for (float logit : row) sum += std::exp(logit - largest);
      const double logprob = row[static_cast<size_t>(answer.ids[i])] - largest - std::log(sum);
      // Logits are near 10 and good to 1e-5 of that.
      EXPECT_NEAR(answer.logprobs[i], logprob, 3e-4) << variant << " token " << i;
    }
  }
}

}  // namespace
}  // namespace fathom::testing
