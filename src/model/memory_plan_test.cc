#include "model/memory_plan.h"

#include <gtest/gtest.h>

#include "checkpoint/known_configs.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

using testing::tiny_config;

TEST(MemoryPlan, CacheOfTheReleasedModels) {
  // 27 and 60 layers of 512 + 64 values; int8: 512 bytes, a float32 scale and 64 values of 16 bits.
  const ModelConfig lite = *known_config("deepseek-v2-lite"), large = *known_config("deepseek-v2");
  EXPECT_EQ(cache_bytes_per_token(lite, DType::kBFloat16), 31104u);
  EXPECT_EQ(cache_bytes_per_token(lite, DType::kInt8), 17388u);
  EXPECT_EQ(cache_bytes_per_token(large, DType::kBFloat16), 69120u);
  EXPECT_EQ(cache_bytes_per_token(large, DType::kInt8), 38640u);
  EXPECT_EQ(cache_bytes_per_token(large, DType::kFloat32), 60u * 576 * 4);
  // A sequence of the whole context.
  const MemoryPlan plan = plan_memory(lite, {.max_model_len = 163840, .max_num_seqs = 1}, {});
  EXPECT_EQ(plan.cache_bytes, uint64_t{163840} * 31104);
}

TEST(MemoryPlan, WeightsOfTheReleasedModels) {
  const ModelConfig lite = *known_config("deepseek-v2-lite");
  const MemoryPlan one = plan_memory(lite, {}, weight_groups(lite, {}));
  EXPECT_EQ(one.weight_bytes, 2u * 15706484224);
  EXPECT_EQ(one.rank_weight_bytes, one.weight_bytes);
  constexpr Sharding kEight{.num_ranks = 8, .num_slices = 8};
  const MemoryPlan eight = plan_memory(lite, {.sharding = kEight}, weight_groups(lite, kEight));
  EXPECT_EQ(eight.weight_bytes, one.weight_bytes);
  EXPECT_GT(eight.rank_weight_bytes, one.weight_bytes / 8);
  EXPECT_LT(eight.rank_weight_bytes, one.weight_bytes / 7);
}

TEST(MemoryPlan, WholeAttentionAndAShareOfTheCache) {
  const ModelConfig lite = *known_config("deepseek-v2-lite");
  const auto plan_of = [&](AttentionShare attention) {
    const Sharding sharding{.num_ranks = 8, .num_slices = 8, .attention = attention};
    return plan_memory(lite, {.sharding = sharding, .max_model_len = 4096, .max_num_seqs = 20},
                       weight_groups(lite, sharding));
  };
  const MemoryPlan heads = plan_of(AttentionShare::kHeads), own = plan_of(AttentionShare::kSequences);
  // Three of 20 sequences.
  EXPECT_EQ(heads.num_cache_tokens, 20 * 4096);
  EXPECT_EQ(own.num_cache_tokens, 3 * 4096);
  EXPECT_EQ(own.cache_bytes, uint64_t{3} * 4096 * 31104);
  // Seven eighths more of q_proj, kv_b_proj and o_proj in bf16.
  const uint64_t cut = 2 * 27 * (uint64_t{2048} * 3072 + 512 * 4096 + 2048 * 2048);
  EXPECT_EQ(own.rank_weight_bytes - heads.rank_weight_bytes, cut / 8 * 7);
  EXPECT_GT(own.workspace_bytes, heads.workspace_bytes);
  // Slices of the sums lie side by side.
  EXPECT_EQ(plan_of(AttentionShare::kSlicedSequences).workspace_bytes - own.workspace_bytes,
            uint64_t{7} * 2048 * 512 * sizeof(float));
}

TEST(MemoryPlan, TheFullestRankCounts) {
  ModelConfig config = tiny_config();
  config.n_routed_experts = 5;
  for (const WeightGroup& group :
       weight_groups(config, {.num_ranks = 2, .num_slices = 2, .num_expert_groups = 2})) {
    if (group.role == WeightRole::kExpertUp) {
      EXPECT_EQ(group.rank_bytes, group.bytes / 5 * 3);
    }
    if (group.role == WeightRole::kRouter) {
      EXPECT_EQ(group.rank_bytes, group.bytes);
    }
    if (group.role == WeightRole::kOProj) {
      EXPECT_EQ(group.rank_bytes, group.bytes / 2);
    }
  }
}

TEST(MemoryPlan, SumsAndWholePages) {
  const ModelConfig config = tiny_config();
  const MemoryPlan plan = plan_memory(config, {.max_model_len = 129, .max_num_seqs = 3, .block_size = 128},
                                      weight_groups(config, {}));
  EXPECT_EQ(plan.num_cache_tokens, 768);
  EXPECT_EQ(plan.cache_bytes, 768 * plan.cache_bytes_per_token);
  EXPECT_EQ(plan.rank_total_bytes, plan.rank_weight_bytes + plan.cache_bytes + plan.workspace_bytes);
}

TEST(MemoryPlan, GroupsFollowTheCheckpoint) {
  testing::TempDir dir;
  ModelConfig config = tiny_config();
  config.torch_dtype = DType::kFloat32;
  testing::write_tiny_checkpoint({config, dir.path()});
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint.ok());
  config.torch_dtype = DType::kBFloat16;  // what the config says does not matter
  const MemoryPlan plan = plan_memory(config, {}, weight_groups(config, {}, **checkpoint));
  EXPECT_EQ(plan.weight_bytes, (*checkpoint)->data_bytes());
  EXPECT_EQ(plan.weights[0].dtype, DType::kFloat32);
}

TEST(MemoryPlan, GroupsTakeTheirTypesFromTheDescription) {
  testing::TempDir dir;
  ModelConfig config = testing::tiny_grouped_config();
  config.quantize = QuantType::kW8A8Dynamic;
  config.mla_quantize = QuantType::kW8A16;
  testing::write_tiny_checkpoint({config, dir.path()});
  const auto checkpoint = Checkpoint::open(dir.path());
  const auto description = QuantDescription::load(dir.path(), config);
  ASSERT_TRUE(checkpoint.ok() && description.ok());
  const auto groups = weight_groups(config, {}, **checkpoint, *description);
  const auto planned = weight_groups(config, {});
  ASSERT_EQ(groups.size(), planned.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    EXPECT_EQ(groups[i].type, planned[i].type) << role_name(groups[i].role);
    switch (groups[i].role) {
      case WeightRole::kOProj:
        EXPECT_EQ(groups[i].type, QuantType::kW8A16);
        break;
      case WeightRole::kExpertDown:
        EXPECT_EQ(groups[i].type, QuantType::kW8A8Dynamic);
        break;
      case WeightRole::kRouter:
        EXPECT_EQ(groups[i].type, QuantType::kFloat);
        break;
      default:
        break;
    }
  }
}

// Scales count, offsets do not: nothing keeps them.
TEST(MemoryPlan, QuantisedWeightsCountTheirScales) {
  testing::TempDir dir;
  ModelConfig config = testing::tiny_grouped_config();
  config.quantize = QuantType::kW8A16;
  testing::write_tiny_checkpoint({config, dir.path()});
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint.ok());
  uint64_t offset_bytes = 0;
  for (std::string_view name : (*checkpoint)->names()) {
    if (name.ends_with("_offset")) offset_bytes += (*checkpoint)->tensor(name)->num_bytes();
  }
  const auto groups = weight_groups(config, {}, **checkpoint);
  const MemoryPlan plan = plan_memory(config, {}, groups);
  EXPECT_GT(offset_bytes, 0u);
  EXPECT_EQ(plan.weight_bytes, (*checkpoint)->data_bytes() - offset_bytes);
  const auto planned = weight_groups(config, {});  // without looking at the files
  ASSERT_EQ(groups.size(), planned.size());
  int64_t num_elements = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    EXPECT_EQ(groups[i].dtype, planned[i].dtype) << role_name(groups[i].role);
    EXPECT_EQ(groups[i].bytes, planned[i].bytes) << role_name(groups[i].role);
    num_elements += groups[i].num_elements;
    if (groups[i].role == WeightRole::kExpertDown) {
      EXPECT_EQ(groups[i].dtype, DType::kInt8);
      EXPECT_EQ(groups[i].bytes, 8u * (16 * 10 + 16 * 4));  // 8 experts, [16, 10]
    }
  }
  int64_t expected = 0;
  for (const WeightSpec& spec : weight_table(config)) expected += spec.shape.num_elements();
  EXPECT_EQ(num_elements, expected);
}

TEST(MemoryPlan, Int4CountsScalesAndFactors) {
  testing::TempDir dir;
  ModelConfig config = testing::tiny_config();
  config.quantize = QuantType::kW4A8Dynamic;
  testing::write_tiny_checkpoint({config, dir.path()});
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint.ok());
  const auto groups = weight_groups(config, {}, **checkpoint);
  EXPECT_EQ(plan_memory(config, {}, groups).weight_bytes, (*checkpoint)->data_bytes());
  const auto planned = weight_groups(config, {});  // without looking at the files
  ASSERT_EQ(groups.size(), planned.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    EXPECT_EQ(groups[i].bytes, planned[i].bytes) << role_name(groups[i].role);
    EXPECT_EQ(groups[i].num_elements, planned[i].num_elements);
    if (groups[i].role != WeightRole::kExpertDown) continue;
    EXPECT_EQ(groups[i].dtype, DType::kUint8);
    EXPECT_EQ(groups[i].bytes, 8u * (16 * 5 + 16 * 4 + 16));  // 8 experts, [16, 10]
  }
}

TEST(MemoryPlan, FitsExactly) {
  const ModelConfig config = tiny_config();
  const MemoryPlan plan = plan_memory(config, {}, weight_groups(config, {}));
  const uint64_t total = plan.rank_total_bytes;
  EXPECT_TRUE(check_memory(plan, {}).ok());  // nothing known, nothing refused
  EXPECT_TRUE(check_memory(plan, {.system_available = total + 1}).ok());
  EXPECT_TRUE(check_memory(plan, {.system_available = total}).ok());
  const Status status = check_memory(plan, {.system_available = total, .cgroup_available = total - 1});
  EXPECT_EQ(status.code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(status.message().find("lower --kv-memory, --max-model-len or --max-num-seqs"), std::string::npos);
  EXPECT_NE(check_memory(plan, {.address_space_available = 1}).message().find("the weights alone do not fit"),
            std::string::npos);
}

TEST(MemoryPlan, HugeSizesDoNotWrap) {
  const ModelConfig config = tiny_config();
  const MemoryPlan plan =
      plan_memory(config, {.max_model_len = int64_t{1} << 40, .max_num_seqs = int64_t{1} << 40},
                  weight_groups(config, {}));
  EXPECT_EQ(plan.rank_total_bytes, static_cast<uint64_t>(INT64_MAX));
  EXPECT_FALSE(check_memory(plan, {.system_available = uint64_t{1} << 40}).ok());
}

}  // namespace
}  // namespace fathom
