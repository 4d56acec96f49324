#include "benchmark/max_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

TEST(LargestPassing, EveryBoundaryOfEveryRange) {
  for (int64_t low = 1; low <= 4; ++low) {
    for (int64_t high = low; high <= 20; ++high) {
      for (int64_t limit = low - 1; limit <= high; ++limit) {
        std::set<int64_t> asked;
        const auto found = largest_passing(low, high, [&](int64_t value) -> Result<bool> {
          EXPECT_TRUE(value >= low && value <= high);
          EXPECT_TRUE(asked.insert(value).second) << "twice: " << value;
          return value <= limit;
        });
        ASSERT_TRUE(found.ok());
        if (limit < low) {
          EXPECT_FALSE(found->has_value());
        } else {
          EXPECT_EQ(**found, limit);
        }
        EXPECT_LE(asked.size(), 5u);  // ceil(log2(20 + 1))
      }
    }
  }
}

TEST(LargestPassing, AnErrorEndsTheSearch) {
  const auto found =
      largest_passing(1, 9, [](int64_t value) -> Result<bool> { return io_error("at {}", value); });
  EXPECT_EQ(found.status().message(), "at 5");
}

class MaxBatch : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_tiny_checkpoint({testing::tiny_config(), dir_.path()});
    options_.engine.model_dir = dir_.path();
    options_.engine.block_size = 16;
    options_.engine.max_num_batched_tokens = 16;
    options_.engine.num_threads = 1;
    options_.cases = {{.lengths = {8, 3}, .low = 1, .high = 6}};
  }

  testing::TempDir dir_;
  MaxBatchOptions options_;
};

TEST_F(MaxBatch, LimitsThatAllOrNoneKeep) {
  options_.limit_ms = 1e9;
  auto results = find_max_batch(options_, nullptr);
  ASSERT_TRUE(results.ok()) << results.status().message();
  ASSERT_TRUE((*results)[0].best.has_value());
  const MaxBatchRound& best = (*results)[0].rounds[*(*results)[0].best];
  EXPECT_EQ(best.batch, 6);
  EXPECT_DOUBLE_EQ(best.token_ms, (best.total_seconds - best.prefill_seconds) * 1000 / 2);
  options_.limit_ms = 0;
  results = find_max_batch(options_, nullptr);
  ASSERT_TRUE(results.ok());
  EXPECT_FALSE((*results)[0].best.has_value());
  EXPECT_EQ((*results)[0].rounds.back().batch, 1);
}

TEST_F(MaxBatch, BatchesThatTheCacheCannotHoldAreNotRun) {
  options_.limit_ms = 1e9;
  options_.cases = {{.lengths = {8, 3}, .low = 1, .high = 16}};
  // Float32 latents of three pages of 16 tokens.
  const ModelConfig config = testing::tiny_config();
  options_.engine.kv_cache_dtype = DType::kFloat32;
  options_.engine.kv_memory_bytes = static_cast<uint64_t>(
      3 * 16 * config.num_hidden_layers * (config.kv_lora_rank + config.qk_rope_head_dim) * 4);
  const auto results = find_max_batch(options_, nullptr);
  ASSERT_TRUE(results.ok()) << results.status().message();
  const MaxBatchResult& result = (*results)[0];
  ASSERT_TRUE(result.best.has_value());
  EXPECT_EQ(result.rounds[*result.best].batch, 3);
  EXPECT_TRUE(std::any_of(result.rounds.begin(), result.rounds.end(),
                          [](const MaxBatchRound& round) { return !round.has_room; }));
}

TEST_F(MaxBatch, CasesThatCannotBe) {
  const auto message = [&](const MaxBatchCase& wanted) {
    options_.cases = {wanted};
    return find_max_batch(options_, nullptr).status().message();
  };
  EXPECT_NE(message({.lengths = {8, 1}}).find("8x1"), std::string::npos);
  EXPECT_NE(message({.lengths = {8, 2}, .low = 1, .high = 17}).find("1-17"), std::string::npos);
  EXPECT_NE(message({.lengths = {8, 2}, .low = 3, .high = 2}).find("3-2"), std::string::npos);
}

}  // namespace
}  // namespace fathom
