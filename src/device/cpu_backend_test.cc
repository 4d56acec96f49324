// The backend's own work: sharing out over threads and NUMA nodes, sorting by expert, summing in expert
// order. Compared with a plain evaluation in double, token by token; the kernels have tests of their own.
#include "device/cpu_backend.h"
#include "device/placement_test_support.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/random.h"

namespace fathom {
namespace {

constexpr int64_t kHidden = 40, kWidth = 36, kExperts = 5, kChosen = 2;

std::vector<float> random_floats(uint64_t seed, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random_uniform(seed, i) * 2 - 1);
  return values;
}

// A float32 matrix, row-major.
struct Matrix {
  Matrix(uint64_t seed, int64_t num_rows, int64_t num_cols)
      : rows(num_rows), cols(num_cols), values(random_floats(seed, num_rows * num_cols)) {}
  WeightSource source() const { return {.tensor = {values.data(), DType::kFloat32, {rows, cols}}}; }
  std::vector<double> times(const std::vector<double>& x, int64_t first_row = 0, int64_t count = -1) const {
    std::vector<double> y;
    for (int64_t j = first_row; j < (count < 0 ? rows : first_row + count); ++j) {
      double sum = 0;
      for (int64_t k = 0; k < cols; ++k)
        sum += x[static_cast<size_t>(k)] * values[static_cast<size_t>(j * cols + k)];
      y.push_back(sum);
    }
    return y;
  }
  int64_t rows, cols;
  std::vector<float> values;
};

struct Network {
  Network(uint64_t seed, int64_t width)
      : gate(seed, width, kHidden), up(seed + 1, width, kHidden), down(seed + 2, kHidden, width) {}
  MlpWeights load(CpuBackend& backend) const {
    auto weights = backend.load_mlp(gate.source(), up.source(), down.source());
    EXPECT_TRUE(weights.ok());
    return std::move(weights).value();
  }
  std::vector<double> evaluate(const std::vector<double>& x) const {
    std::vector<double> hidden = gate.times(x);
    const std::vector<double> factors = up.times(x);
    for (size_t i = 0; i < hidden.size(); ++i)
      hidden[i] = hidden[i] / (1 + std::exp(-hidden[i])) * factors[i];
    return down.times(hidden);
  }
  Matrix gate, up, down;
};

std::vector<double> row_of(const std::vector<float>& matrix, int64_t row, int64_t width) {
  return {matrix.begin() + row * width, matrix.begin() + (row + 1) * width};
}

// What every placement must give, bit for bit.
template <typename Run>
void expect_same_bits(const Run& run, const std::vector<double>& want, double tolerance) {
  std::vector<float> first;
  for (const Placement& placement : testing::placements({1, 2, 7})) {
    CpuBackend backend(placement, detect_cpu_features().best_isa());
    const std::vector<float> got = run(backend);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << "at " << i;
    if (first.empty()) first = got;
    EXPECT_EQ(std::memcmp(got.data(), first.data(), got.size() * sizeof(float)), 0)
        << placement.num_threads() << " threads on " << placement.num_nodes << " nodes";
  }
}

// Inputs and weights are at most 1: hidden sums stay below kHidden, their products below kHidden^2, the
// outputs below that times the width; three products of at most 80 terms round at 2^-24 each.
constexpr double kNetworkTolerance = double{kHidden} * kHidden * 2 * kWidth * 240 * 0x1p-24 / 16;

TEST(CpuBackend, MlpAddsToTheResidual) {
  const Network network(1, kWidth);
  for (int64_t num_tokens : {1, 3, 50}) {
    const std::vector<float> residual = random_floats(2, num_tokens * kHidden);
    std::vector<double> want(residual.begin(), residual.end());
    for (int64_t t = 0; t < num_tokens; ++t) {
      const auto y = network.evaluate(row_of(residual, t, kHidden));
      for (int64_t i = 0; i < kHidden; ++i)
        want[static_cast<size_t>(t * kHidden + i)] += y[static_cast<size_t>(i)];
    }
    const auto run = [&](CpuBackend& backend) {
      const MlpWeights weights = network.load(backend);
      std::vector<float> out = residual;
      backend.mlp({.norm = {},
                   .weights = &weights,
                   .x = out.data(),
                   .residual = out.data(),
                   .num_tokens = num_tokens});
      return out;
    };
    expect_same_bits(run, want, kNetworkTolerance);
  }
}

// The two largest of the softmax, as the router chooses them.
std::vector<std::pair<size_t, double>> choose(const std::vector<double>& logits) {
  double sum = 0;
  for (double logit : logits) sum += std::exp(logit);
  std::vector<size_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  return {{order[0], std::exp(logits[order[0]]) / sum}, {order[1], std::exp(logits[order[1]]) / sum}};
}

TEST(CpuBackend, MoeEqualsTokenByTokenSums) {
  std::vector<Network> networks;
  for (uint64_t e = 0; e < kExperts; ++e) networks.emplace_back(10 * e + 3, kWidth);
  const Network shared(99, 2 * kWidth);
  const Matrix router(77, kExperts, kHidden);
  // More rows for one expert than a wave holds, too.
  for (int64_t num_tokens : {1, 2, 9, 1500}) {
    for (bool with_shared : {true, false}) {
      const std::vector<float> residual = random_floats(2, num_tokens * kHidden);
      std::vector<double> want(residual.begin(), residual.end());
      for (int64_t t = 0; t < num_tokens; ++t) {
        const std::vector<double> x = row_of(residual, t, kHidden);
        const auto add = [&](const std::vector<double>& y, double factor) {
          for (size_t i = 0; i < y.size(); ++i) want[static_cast<size_t>(t * kHidden) + i] += factor * y[i];
        };
        for (const auto& [expert, weight] : choose(router.times(x)))
          add(networks[expert].evaluate(x), weight);
        if (with_shared) add(shared.evaluate(x), 1);
      }
      const auto run = [&](CpuBackend& backend) {
        std::vector<MlpWeights> experts;
        for (const Network& network : networks) experts.push_back(network.load(backend));
        const MlpWeights shared_weights = shared.load(backend);
        const Weight router_weight = backend.load_matrix(router.source()).value();
        std::vector<float> out = residual;
        backend.moe({.norm = {},
                     .routing = {.router = &router_weight, .experts_per_token = kChosen},
                     .experts = experts,
                     .shared = with_shared ? &shared_weights : nullptr,
                     .x = out.data(),
                     .residual = out.data(),
                     .num_tokens = num_tokens});
        return out;
      };
      expect_same_bits(run, want, kNetworkTolerance);
    }
  }
}

// Experts of one layer may be W8A8 and W8A16 side by side, as an edited description says.
TEST(CpuBackend, ExpertsMayBeOfDifferentTypes) {
  std::vector<int8_t> bytes(kWidth * kHidden);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<int8_t>(random_bits(3, i) % 255 - 127);
  const std::vector<float> scales(kHidden, 1.0f / 127);
  const Matrix router(77, 2, kHidden);
  const std::vector<float> residual = random_floats(2, 3 * kHidden);
  const auto run = [&](Int8Inputs first, Int8Inputs second) {
    CpuBackend backend(floating_placement(2), detect_cpu_features().best_isa());
    std::vector<MlpWeights> experts;
    for (Int8Inputs inputs : {first, second}) {
      const WeightSource up{{bytes.data(), DType::kInt8, {kWidth, kHidden}}, scales.data(), inputs};
      const WeightSource down{{bytes.data(), DType::kInt8, {kHidden, kWidth}}, scales.data(), inputs};
      experts.push_back(backend.load_mlp(up, up, down).value());
    }
    const Weight router_weight = backend.load_matrix(router.source()).value();
    std::vector<float> out = residual;
    backend.moe({.norm = {},
                 .routing = {.router = &router_weight, .experts_per_token = 2},
                 .experts = experts,
                 .x = out.data(),
                 .residual = out.data(),
                 .num_tokens = 3});
    return out;
  };
  const std::vector<float> fine = run(Int8Inputs::kInt16, Int8Inputs::kInt16);
  const std::vector<float> mixed = run(Int8Inputs::kInt8, Int8Inputs::kInt16);
  const std::vector<float> coarse = run(Int8Inputs::kInt8, Int8Inputs::kInt8);
  double difference = 0, mixed_difference = 0, size = 0;
  for (size_t i = 0; i < fine.size(); ++i) {
    difference += std::pow(coarse[i] - fine[i], 2);
    mixed_difference += std::pow(mixed[i] - fine[i], 2);
    size += std::pow(fine[i] - residual[i], 2);
  }
  // Three roundings to 1/254 of a row's largest value, which is at most 7 times its mean: 3 * 7 / 254 and
  // more cannot be; one of two experts rounds, so its part differs and the other's does not.
  EXPECT_LT(std::sqrt(difference / size), 21.0 / 254);
  EXPECT_GT(mixed_difference, 0);
  EXPECT_NE(mixed, coarse);
}

TEST(CpuBackend, ProjectNormalisesOnceForAllOutputs) {
  const Matrix first(1, 50, kHidden), second(2, 3, kHidden);
  const std::vector<float> norm = random_floats(3, kHidden), bias = random_floats(4, 3);
  for (int64_t num_tokens : {1, 60}) {
    const std::vector<float> x = random_floats(5, num_tokens * kHidden);
    std::vector<double> want(static_cast<size_t>(num_tokens * 53), 0);
    for (int64_t t = 0; t < num_tokens; ++t) {
      std::vector<double> row = row_of(x, t, kHidden);
      double sum = 0;
      for (double value : row) sum += value * value;
      for (size_t i = 0; i < row.size(); ++i) row[i] *= norm[i] / std::sqrt(sum / kHidden + 1e-3);
      const auto y = first.times(row), z = second.times(row);
      for (size_t j = 0; j < y.size(); ++j) want[static_cast<size_t>(t) * 50 + j] = y[j];
      for (size_t j = 0; j < z.size(); ++j)
        want[static_cast<size_t>(num_tokens * 50 + t * 3) + j] = 1 + z[j] + static_cast<double>(bias[j]);
    }
    const auto run = [&](CpuBackend& backend) {
      const Weight a = backend.load_matrix(first.source()).value(),
                   b = backend.load_matrix(second.source()).value();
      const VectorWeight scale = backend.load_vector({norm.data(), DType::kFloat32, {kHidden}}).value();
      const VectorWeight offset = backend.load_vector({bias.data(), DType::kFloat32, {3}}).value();
      std::vector<float> out(want.size(), 1.0f);
      const Projection outputs[] = {{.weight = &a, .y = out.data()},
                                    {.weight = &b,
                                     .bias = &offset,
                                     .y = out.data() + num_tokens * 50,
                                     .output = Projection::Output::kAdd}};
      backend.project({.x = x.data(),
                       .norm = {.weight = &scale, .eps = 1e-3f},
                       .outputs = outputs,
                       .num_tokens = num_tokens});
      return out;
    };
    expect_same_bits(run, want, 4.0 * kHidden * kHidden * 0x1p-24);
  }
}

// One expanded and one absorbed segment in a batch equal attention computed from expanded keys and values.
TEST(CpuBackend, AttendComputesBothForms) {
  constexpr int64_t kHeads = 3, kNope = 6, kRope = 4, kValue = 5, kLatent = 12, kBlock = 4, kTokens = 5;
  constexpr int64_t kQuery = kNope + kRope, kRow = kLatent + kRope, kHeadRows = kNope + kValue;
  constexpr double kScale = 0.5;
  const Matrix kv_b(8, kHeads * kHeadRows, kLatent);
  std::vector<float> rows = random_floats(5, 2 * 3 * kBlock * kRow);
  const LatentCacheView cache{
      .data = rows.data(), .latent_dim = kLatent, .rope_dim = kRope, .block_size = kBlock};
  const std::vector<int32_t> pages = {2, 0, 1, 4, 5, 3}, ids(kTokens, 0), positions = {8, 9, 10, 9, 10},
                             starts = {0, 3, 5}, page_starts = {0, 3, 6};
  const std::vector<int64_t> slots(kTokens, 0);
  const std::vector<AttentionForm> forms = {AttentionForm::kExpanded, AttentionForm::kAbsorbed};
  const Batch batch{.token_ids = ids,
                    .positions = positions,
                    .slots = slots,
                    .starts = starts,
                    .forms = forms,
                    .page_tables = pages,
                    .page_table_starts = page_starts,
                    .logits_rows = {}};
  const std::vector<float> q = random_floats(6, kTokens * kHeads * kQuery);
  std::vector<double> want(kTokens * kHeads * kValue);
  for (int64_t t = 0; t < kTokens; ++t) {
    const int32_t* table = pages.data() + (t < 3 ? 0 : 3);
    for (int64_t h = 0; h < kHeads; ++h) {
      const std::vector<double> query = row_of(q, t * kHeads + h, kQuery);
      double sum = 0;
      for (int64_t s = 0; s <= positions[static_cast<size_t>(t)]; ++s) {
        const std::vector<double> row = row_of(rows, table[s / kBlock] * kBlock + s % kBlock, kRow);
        const std::vector<double> expanded = kv_b.times(row, h * kHeadRows, kHeadRows);
        double score = 0;
        for (size_t i = 0; i < kNope; ++i) score += query[i] * expanded[i];
        for (size_t i = 0; i < kRope; ++i) score += query[kNope + i] * row[kLatent + i];
        const double weight = std::exp(kScale * score);
        sum += weight;
        for (size_t i = 0; i < kValue; ++i)
          want[static_cast<size_t>((t * kHeads + h) * kValue) + i] += weight * expanded[kNope + i];
      }
      for (size_t i = 0; i < kValue; ++i) want[static_cast<size_t>((t * kHeads + h) * kValue) + i] /= sum;
    }
  }
  const auto run = [&](CpuBackend& backend) {
    const KvBWeights weights = backend.load_kv_b(kv_b.source().tensor, kHeads, kNope).value();
    EXPECT_TRUE(backend.begin_step(batch).ok());
    std::vector<float> out(want.size());
    backend.attend({.q = q.data(),
                    .kv_b = &weights,
                    .out = out.data(),
                    .cache = cache,
                    .num_heads = kHeads,
                    .nope_dim = kNope,
                    .v_dim = kValue,
                    .scale = kScale});
    return out;
  };
  // Scores below 60 with sums of 16 products of sums of 12: relative 400 roundings of e^score, values
  // below 12.
  expect_same_bits(run, want, 12 * 400 * 0x1p-24);
}

TEST(CpuBackend, RefusesGateAndUpOfDifferentTypes) {
  CpuBackend backend(floating_placement(1), Isa::kReference);
  const std::vector<uint16_t> half(16 * 8, 0);
  const Matrix matrix(1, 16, 8), down(2, 8, 16);
  const WeightSource other{.tensor = {half.data(), DType::kBFloat16, {16, 8}}};
  const auto weights = backend.load_mlp(matrix.source(), other, down.source());
  ASSERT_FALSE(weights.ok());
  EXPECT_NE(weights.status().message().find("gate is stored as fp32 and up as bf16"), std::string::npos);
}

TEST(ProductShare, CoversEveryOutputOnce) {
  for (int64_t threads : {1, 2, 3, 16, 60}) {
    for (int64_t panels : {1, 4, 5, 88}) {
      for (int64_t tokens : {0, 1, 30, 500}) {
        std::vector<int> seen(static_cast<size_t>(panels * tokens));
        for (int i = 0; i < threads; ++i) {
          const ProductShare share =
              product_share({3, 3 + panels}, 1, tokens, {0, i, static_cast<int>(threads)});
          for (int64_t p = share.panels.begin; p < share.panels.end; ++p) {
            for (int64_t t = share.tokens.begin; t < share.tokens.end; ++t)
              ++seen[static_cast<size_t>((p - 3) * tokens + t)];
          }
        }
        EXPECT_EQ(seen, std::vector<int>(seen.size(), 1))
            << threads << " threads " << panels << " " << tokens;
      }
    }
  }
}

TEST(WorkLine, EveryUnitGoesToOneThread) {
  const std::vector<WorkItem> items = {{5, 3}, {0, 7}, {1, 100}, {9, 1}};
  for (int threads : {1, 2, 3, 7, 40}) {
    std::vector<std::vector<int>> seen;
    for (const WorkItem& item : items) seen.emplace_back(static_cast<size_t>(item.units));
    for (int i = 0; i < threads; ++i) {
      for_share_of_line(
          items, [](const WorkItem& item) { return item; }, i, threads,
          [&](size_t item, int64_t first, int64_t end) {
            for (int64_t u = first; u < end; ++u) ++seen[item][static_cast<size_t>(u)];
          });
    }
    for (size_t i = 0; i < items.size(); ++i)
      EXPECT_EQ(seen[i], std::vector<int>(seen[i].size(), 1)) << threads << " threads, item " << i;
  }
}

}  // namespace
}  // namespace fathom
