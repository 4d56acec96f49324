#include "benchmark/traffic.h"

#include <gtest/gtest.h>

#include "checkpoint/known_configs.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

// V2-Lite by hand: 27 layers, the first dense; hidden 2048, 16 heads of 128 + 64 (value 128), latent 512,
// 64 experts of 1408 of which 6 are chosen, 2 shared, vocabulary 102400.
constexpr double kAttention = 27.0 * (2048 * 16 * 192 + 2048 * 576 + 512 * 16 * 256 + 16 * 128 * 2048);
constexpr double kExpert = 3.0 * 2048 * 1408;
constexpr double kShared = 26 * 2 * kExpert;
constexpr double kDense = 3.0 * 2048 * 10944;
constexpr double kRouter = 26.0 * 64 * 2048;
constexpr double kHead = 102400.0 * 2048;
constexpr double kNorms = 27.0 * (2 * 2048 + 512) + 2048;
constexpr double kMatrices = kAttention + kShared + kDense + kRouter;  // that every token meets

class LiteTraffic : public ::testing::Test {
 protected:
  const ModelConfig config_ = *known_config("deepseek-v2-lite");
  const ModelTraffic traffic_ = describe_traffic(config_, weight_groups(config_, {}), DType::kBFloat16);
};

TEST_F(LiteTraffic, BytesOfOneToken) {
  const double parameters = kMatrices + 26 * 6 * kExpert + kHead + kNorms;
  EXPECT_NEAR(parameters, 2.451e9, 0.5e6 + kNorms);
  EXPECT_DOUBLE_EQ(decode_bytes(traffic_, 1, 0).total(), 2 * parameters);
  EXPECT_NEAR(decode_bytes(traffic_, 1, 4096).total(), 5.030e9, 0.5e6);
  EXPECT_DOUBLE_EQ(decode_bytes(traffic_, 1, 4096).cache, 4096.0 * 31104);
  EXPECT_DOUBLE_EQ(decode_bytes(traffic_, 1, 4096).weights, 2 * parameters);
}

TEST_F(LiteTraffic, BatchesShareExperts) {
  EXPECT_DOUBLE_EQ(expected_experts(64, 6, 1), 6);
  EXPECT_NEAR(expected_experts(64, 6, 4), 20.8, 0.05);
  EXPECT_NEAR(expected_experts(64, 6, 16), 50.8, 0.05);
  EXPECT_NEAR(expected_experts(160, 6, 64), 146.1, 0.05);
  EXPECT_EQ(expected_experts(0, 0, 3), 0);
  EXPECT_NEAR(decode_bytes(traffic_, 16, 0).total() / 16, 1.565e9, 0.001e9);
  EXPECT_NEAR(decode_bytes(traffic_, 128, 0).total() / 128, 0.24e9, 0.005e9);
}

TEST_F(LiteTraffic, OperationsOfTheLinears) {
  EXPECT_DOUBLE_EQ(traffic_.token.bfloat16, 2 * (kMatrices + 26 * 6 * kExpert));
  EXPECT_NEAR(traffic_.token.bfloat16, 4.483e9, 0.5e6);
  EXPECT_DOUBLE_EQ(traffic_.head.bfloat16, 2 * kHead);
  EXPECT_EQ(traffic_.token.int8, 0);
  EXPECT_EQ(traffic_.token.float32, 0);
}

TEST_F(LiteTraffic, OperationsOfAttention) {
  EXPECT_DOUBLE_EQ(traffic_.expanded_pair, 640.0 * 16 * 27);
  EXPECT_DOUBLE_EQ(traffic_.absorbed_pair, 2176.0 * 16 * 27);
  EXPECT_DOUBLE_EQ(traffic_.expanded_token, 2.0 * 512 * 16 * 256 * 27);
  // 5.87 GF a token at 1k keys, the head included.
  EXPECT_NEAR(traffic_.token.total() + traffic_.head.total() + 1024 * traffic_.absorbed_pair, 5.87e9, 0.01e9);
}

TEST_F(LiteTraffic, PromptInOneChunk) {
  const PrefillWork work =
      prefill_work(traffic_, {.num_sequences = 1, .prompt_len = 2048, .chunk_tokens = 2048});
  EXPECT_EQ(work.num_chunks, 1);
  // All experts, almost surely.
  const double parameters = kMatrices + 26 * 64 * kExpert + kHead + kNorms;
  EXPECT_NEAR(work.weight_bytes, 2 * parameters, 1);
  EXPECT_EQ(work.operations.expansion, 0);
  EXPECT_NEAR((work.operations.total() - 2 * kHead) / 2048, 4.77e9, 0.005e9);
}

TEST_F(LiteTraffic, PromptsInChunksExpandAgain) {
  // Chunks [0, 400) [400, 800) [800, 1200) over prompts [0, 600) and [600, 1200): the second chunk expands
  // 400 cached tokens of the first prompt, the third 200 of the second; the second and the third sample.
  const PrefillWork work =
      prefill_work(traffic_, {.num_sequences = 2, .prompt_len = 600, .chunk_tokens = 400});
  EXPECT_EQ(work.num_chunks, 3);
  EXPECT_DOUBLE_EQ(work.operations.expansion, 600 * traffic_.expanded_token);
  EXPECT_DOUBLE_EQ(work.weight_bytes, 3 * traffic_.body_bytes(400) + 2 * traffic_.head_bytes);
  EXPECT_DOUBLE_EQ(work.operations.attention, 600.0 * 601 * traffic_.expanded_pair);
  EXPECT_DOUBLE_EQ(work.operations.bfloat16, 1200 * traffic_.token.bfloat16 + 2 * traffic_.head.bfloat16);
}

TEST_F(LiteTraffic, Int8WeightsHalveBytesAndMoveOperations) {
  std::vector<WeightGroup> groups = weight_groups(config_, {});
  for (WeightGroup& group : groups) {
    if (group.role != WeightRole::kExpertUp) continue;
    group.dtype = DType::kInt8;
    group.type = QuantType::kW8A8Dynamic;
    group.bytes = group.bytes / 2 + static_cast<uint64_t>(group.num_tensors) * 1408 * 4;  // a scale a row
    group.rank_bytes = group.bytes;
  }
  const ModelTraffic mixed = describe_traffic(config_, groups, DType::kInt8);
  EXPECT_DOUBLE_EQ(mixed.token.int8, 2 * 26 * 6 * kExpert / 3);
  EXPECT_DOUBLE_EQ(mixed.token.int8 + mixed.token.bfloat16, traffic_.token.bfloat16);
  EXPECT_DOUBLE_EQ(traffic_.routed_bytes - mixed.routed_bytes, 26.0 * 64 * (kExpert / 3 - 1408 * 4));
  EXPECT_EQ(mixed.cache_bytes_per_token, 17388);
}

TEST_F(LiteTraffic, ARankReadsAndMultipliesItsShare) {
  for (int64_t num_expert_groups : {1, 4}) {
    const Sharding sharding{.num_ranks = 4, .num_slices = 4, .num_expert_groups = num_expert_groups};
    const ModelTraffic rank =
        describe_traffic(config_, weight_groups(config_, sharding), DType::kBFloat16, sharding);
    EXPECT_DOUBLE_EQ(rank.routed_bytes, traffic_.routed_bytes / 4);
    EXPECT_DOUBLE_EQ(rank.head_bytes, traffic_.head_bytes / 4);
    EXPECT_DOUBLE_EQ(rank.head.bfloat16, traffic_.head.bfloat16 / 4);
    EXPECT_DOUBLE_EQ(rank.absorbed_pair, traffic_.absorbed_pair / 4);
    // Router, the latent's projection and norms are every rank's.
    const double whole = kRouter + 27.0 * 576 * 2048;
    EXPECT_DOUBLE_EQ(rank.common_bytes,
                     (traffic_.common_bytes - 2 * (whole + kNorms)) / 4 + 2 * (whole + kNorms));
    EXPECT_DOUBLE_EQ(rank.token.bfloat16, (traffic_.token.bfloat16 - 2 * whole) / 4 + 2 * whole);
    EXPECT_EQ(rank.cache_bytes_per_token, traffic_.cache_bytes_per_token);
  }
}

TEST_F(LiteTraffic, AHomeReadsItsSequencesAndAllHeads) {
  const Sharding heads{.num_ranks = 4, .num_slices = 4};
  Sharding own = heads;
  own.attention = AttentionShare::kSequences;
  const auto of = [this](const Sharding& sharding) {
    return describe_traffic(config_, weight_groups(config_, sharding), DType::kBFloat16, sharding);
  };
  EXPECT_DOUBLE_EQ(of(own).cache_bytes_per_token, traffic_.cache_bytes_per_token / 4);
  EXPECT_DOUBLE_EQ(of(own).absorbed_pair, traffic_.absorbed_pair / 4);
  // All of q_proj, kv_b_proj and o_proj; kv_a_proj, which every rank has, for its own rows only.
  const double cut = 27.0 * (2048 * 3072 + 512 * 4096 + 2048 * 2048);
  EXPECT_DOUBLE_EQ(of(own).common_bytes - of(heads).common_bytes, 2 * cut * 3 / 4);
  EXPECT_DOUBLE_EQ(of(heads).token.bfloat16 - of(own).token.bfloat16, 2 * 27.0 * 576 * 2048 * 3 / 4);
}

TEST_F(LiteTraffic, Int4IsReadAsItIsPacked) {
  std::vector<WeightGroup> groups = weight_groups(config_, {});
  for (WeightGroup& group : groups) {
    if (group.role != WeightRole::kExpertUp) continue;
    group.dtype = DType::kUint8;
    group.bytes = group.rank_bytes = 1;  // a checkpoint's groups may be larger than 32
  }
  const ModelTraffic mixed = describe_traffic(config_, groups, DType::kInt8);
  const double up = kExpert / 3 * 4.25 / 8 + 1408 * 4;
  EXPECT_DOUBLE_EQ(mixed.routed_bytes, 26.0 * 64 * (2 * kExpert * 2 / 3 + up));
}

TEST_F(LiteTraffic, TypesSayHowInt8IsMultiplied) {
  ModelConfig config = config_;
  config.quantize = QuantType::kW8A8Dynamic;
  config.mla_quantize = QuantType::kW8A16;
  const ModelTraffic mixed = describe_traffic(config, weight_groups(config, {}), DType::kBFloat16);
  const double kv_b = 27.0 * 512 * 16 * 256;  // stays a floating type, as router and head do
  EXPECT_DOUBLE_EQ(mixed.token.int8_pair, 2 * (kAttention - kv_b));
  EXPECT_DOUBLE_EQ(mixed.token.int8, 2 * (kShared + kDense + 26 * 6 * kExpert));
  EXPECT_DOUBLE_EQ(mixed.token.bfloat16, 2 * (kv_b + kRouter));
  EXPECT_DOUBLE_EQ(mixed.token.total(), traffic_.token.total());
}

TEST(Traffic, TiedEmbeddingsAreTheHead) {
  ModelConfig config = testing::tiny_config();
  const ModelTraffic untied = describe_traffic(config, weight_groups(config, {}), DType::kFloat32);
  config.tie_word_embeddings = true;
  const ModelTraffic tied = describe_traffic(config, weight_groups(config, {}), DType::kFloat32);
  EXPECT_EQ(tied.head_bytes, 40 * 16 * 2);
  EXPECT_EQ(tied.head_bytes, untied.head_bytes);
  EXPECT_EQ(tied.common_bytes, untied.common_bytes);
}

TEST(Traffic, WithoutExpertsEveryStepReadsTheSame) {
  ModelConfig config = testing::tiny_config();
  config.n_routed_experts = 0;
  const ModelTraffic traffic = describe_traffic(config, weight_groups(config, {}), DType::kFloat32);
  EXPECT_EQ(traffic.routed_bytes, 0);
  EXPECT_EQ(traffic.body_bytes(1), traffic.body_bytes(100));
  EXPECT_EQ(traffic.body_bytes(0), 0);
}

TEST(Traffic, SecondsOfOperations) {
  TierRates rates;
  rates.int8 = TierRates::Named{"a", 8};
  rates.bfloat16 = TierRates::Named{"b", 4};
  rates.float32 = TierRates::Named{"c", 2};
  const OperationCounts operations{.int8 = 8, .bfloat16 = 4, .float32 = 2, .attention = 12, .expansion = 4};
  EXPECT_EQ(operation_seconds(operations, rates), 1 + 5 + 1);
  rates.float32.reset();
  EXPECT_EQ(operation_seconds(operations, rates), std::nullopt);
  EXPECT_EQ(operation_seconds({.int8 = 4}, rates), 0.5);
  EXPECT_EQ(operation_seconds({.int8_pair = 4}, rates), 1);  // two int8 operations each
}

}  // namespace
}  // namespace fathom
