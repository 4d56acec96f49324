// The backend's own work: sharing out, sorting by expert, summing in expert order. Compared with a plain
// evaluation by the scalar kernels, token by token.
#include "device/cpu_backend.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "kernels/ref/kernels.h"

namespace fathom {
namespace {

constexpr int64_t kHidden = 24, kWidth = 20, kExperts = 5, kChosen = 2;

std::vector<float> random_floats(uint64_t seed, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random_uniform(seed, i) * 2 - 1);
  return values;
}

// Weights and the memory they lie in.
class Matrices {
 public:
  Weight make(int64_t rows, int64_t cols) {
    memory_.push_back(random_floats(memory_.size() + 100, rows * cols));
    Weight weight;
    weight.data = memory_.back().data();
    weight.rows = rows;
    weight.cols = cols;
    return weight;
  }
  MlpWeights network(int64_t width) {
    MlpWeights weights;
    weights.gate = make(width, kHidden);
    weights.up = make(width, kHidden);
    weights.down = make(kHidden, width);
    return weights;
  }

 private:
  std::vector<std::vector<float>> memory_;
};

std::vector<float> evaluate(const Weight& weight, const std::vector<float>& x) {
  std::vector<float> y(static_cast<size_t>(weight.rows));
  kernels::ref::linear({.x = x.data(),
                        .weight = weight.data,
                        .y = y.data(),
                        .num_tokens = 1,
                        .num_inputs = weight.cols,
                        .x_stride = weight.cols,
                        .y_stride = weight.rows,
                        .begin = 0,
                        .end = weight.rows});
  return y;
}

std::vector<float> evaluate(const MlpWeights& weights, const std::vector<float>& x) {
  std::vector<float> hidden = evaluate(weights.gate, x);
  const std::vector<float> up = evaluate(weights.up, x);
  for (size_t i = 0; i < hidden.size(); ++i) hidden[i] = hidden[i] / (1 + std::exp(-hidden[i])) * up[i];
  return evaluate(weights.down, hidden);
}

class CpuBackendTest : public ::testing::TestWithParam<int> {
 protected:
  CpuBackendTest() : backend_({.num_threads = GetParam(), .isa = detect_cpu_features().best_isa()}) {}
  CpuBackend backend_;
};

INSTANTIATE_TEST_SUITE_P(Threads, CpuBackendTest, ::testing::Values(1, 2, 3, 7));

TEST_P(CpuBackendTest, ExpertsEqualTokenByTokenSums) {
  Matrices matrices;
  std::vector<MlpWeights> experts;
  for (int64_t e = 0; e < kExperts; ++e) experts.push_back(matrices.network(kWidth));
  const MlpWeights shared = matrices.network(2 * kWidth);
  for (int64_t num_tokens : {1, 2, 9}) {
    const std::vector<float> x = random_floats(1, num_tokens * kHidden);
    const std::vector<float> before = random_floats(2, num_tokens * kHidden);
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < num_tokens; ++t) {
      const auto first = static_cast<int32_t>(random_bits(9, static_cast<uint64_t>(t)) % (kExperts - 1));
      ids.insert(ids.end(), {first, kExperts - 1});
    }
    const std::vector<float> weights = random_floats(4, num_tokens * kChosen);
    for (const MlpWeights* with_shared : {&shared, static_cast<const MlpWeights*>(nullptr)}) {
      std::vector<float> residual = before;
      backend_.experts({.x = x.data(),
                        .expert_ids = ids.data(),
                        .expert_weights = weights.data(),
                        .experts = experts,
                        .shared = with_shared,
                        .residual = residual.data(),
                        .num_tokens = num_tokens,
                        .experts_per_token = kChosen});
      for (int64_t t = 0; t < num_tokens; ++t) {
        const std::vector<float> row(x.begin() + t * kHidden, x.begin() + (t + 1) * kHidden);
        std::vector<double> want(before.begin() + t * kHidden, before.begin() + (t + 1) * kHidden);
        const auto add = [&want](const std::vector<float>& y, double factor) {
          for (size_t i = 0; i < want.size(); ++i) want[i] += factor * y[i];
        };
        for (int64_t k = 0; k < kChosen; ++k) {
          const auto pair = static_cast<size_t>(t * kChosen + k);
          add(evaluate(experts[static_cast<size_t>(ids[pair])], row), weights[pair]);
        }
        if (with_shared != nullptr) add(evaluate(shared, row), 1);
        for (int64_t i = 0; i < kHidden; ++i) {
          // Values stay below 100; three products of at most 40 terms round at 2^-24 each.
          EXPECT_NEAR(residual[static_cast<size_t>(t * kHidden + i)], want[static_cast<size_t>(i)],
                      100 * 120 * 0x1p-24);
        }
      }
    }
  }
}

TEST_P(CpuBackendTest, MlpAddsToTheResidual) {
  Matrices matrices;
  const MlpWeights weights = matrices.network(kWidth);
  const std::vector<float> x = random_floats(1, 3 * kHidden);
  std::vector<float> residual = random_floats(2, 3 * kHidden);
  const std::vector<float> before = residual;
  backend_.mlp({.x = x.data(), .weights = &weights, .residual = residual.data(), .num_tokens = 3});
  for (int64_t t = 0; t < 3; ++t) {
    const auto y = evaluate(weights, {x.begin() + t * kHidden, x.begin() + (t + 1) * kHidden});
    for (int64_t i = 0; i < kHidden; ++i) {
      const auto at = static_cast<size_t>(t * kHidden + i);
      EXPECT_NEAR(residual[at], before[at] + y[static_cast<size_t>(i)], 100 * 80 * 0x1p-24);
    }
  }
}

// One expanded and one absorbed segment in a batch equal the scalar kernels on each token and head alone.
TEST_P(CpuBackendTest, AttendComputesBothForms) {
  constexpr int64_t kHeads = 3, kNope = 6, kRope = 4, kValue = 5, kLatent = 12, kBlock = 4;
  Matrices matrices;
  const Weight kv_b = matrices.make(kHeads * (kNope + kValue), kLatent);
  std::vector<float> rows = random_floats(5, 2 * 3 * kBlock * (kLatent + kRope));
  const LatentCacheView cache{.data = rows.data(),
                              .dtype = DType::kFloat32,
                              .latent_dim = kLatent,
                              .rope_dim = kRope,
                              .block_size = kBlock};
  const std::vector<int32_t> pages = {2, 0, 1, 4, 5, 3};
  const std::vector<int32_t> ids = {0, 0, 0, 0, 0}, positions = {8, 9, 10, 9, 10}, starts = {0, 3, 5},
                             page_starts = {0, 3, 6};
  const std::vector<int64_t> slots(5, 0);
  const std::vector<AttentionForm> forms = {AttentionForm::kExpanded, AttentionForm::kAbsorbed};
  const Batch batch{.token_ids = ids,
                    .positions = positions,
                    .slots = slots,
                    .starts = starts,
                    .forms = forms,
                    .page_tables = pages,
                    .page_table_starts = page_starts,
                    .logits_rows = {}};
  ASSERT_TRUE(backend_.begin_step(batch).ok());
  const std::vector<float> q = random_floats(6, 5 * kHeads * (kNope + kRope));
  std::vector<float> out(5 * kHeads * kValue);
  backend_.attend({.q = q.data(),
                   .kv_b = &kv_b,
                   .out = out.data(),
                   .cache = cache,
                   .num_heads = kHeads,
                   .nope_dim = kNope,
                   .v_dim = kValue,
                   .scale = 0.5f});
  for (int64_t t = 0; t < 5; ++t) {
    const int32_t* table = pages.data() + (t < 3 ? 0 : 3);
    for (int64_t h = 0; h < kHeads; ++h) {
      std::vector<float> want(kValue);
      kernels::ref::expanded_attention({.q = q.data() + (t * kHeads + h) * (kNope + kRope),
                                        .kv_b = kv_b.floats() + h * (kNope + kValue) * kLatent,
                                        .page_table = table,
                                        .out = want.data(),
                                        .cache = cache,
                                        .q_stride = 0,
                                        .out_stride = 0,
                                        .num_tokens = 1,
                                        .first_position = positions[static_cast<size_t>(t)],
                                        .nope_dim = kNope,
                                        .v_dim = kValue,
                                        .scale = 0.5f});
      for (int64_t i = 0; i < kValue; ++i) {
        // Scores below 60 with sums of 16 products of sums of 12: relative 400 roundings of e^score, values
        // below 12.
        EXPECT_NEAR(out[static_cast<size_t>((t * kHeads + h) * kValue + i)], want[static_cast<size_t>(i)],
                    12 * 400 * 0x1p-24)
            << "token " << t << " head " << h;
      }
    }
  }
}

}  // namespace
}  // namespace fathom
