// Layers with int4 weights through the backend: bit for bit those with int8 weights factor * q, for any
// number of threads and nodes.
#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "device/cpu_backend.h"
#include "device/placement_test_support.h"

namespace fathom::int4_test {
namespace {

constexpr int64_t kHidden = 88, kWidth = 170, kExperts = 4, kChosen = 2;

std::vector<float> random_floats(uint64_t seed, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random_uniform(seed, i) * 2 - 1);
  return values;
}

enum class Stored : uint8_t { kInt4, kInt8 };

// One matrix in both spellings.
class Matrix {
 public:
  Matrix(uint64_t seed, int64_t rows, int64_t cols, int64_t group_size)
      : rows_(rows), cols_(cols), group_size_(group_size), nibbles_(static_cast<size_t>(rows * cols / 2)) {
    const int64_t groups = (cols + group_size - 1) / group_size;
    for (int64_t i = 0; i < rows * groups; ++i)
      factors_.push_back(static_cast<uint8_t>(random_bits(seed, static_cast<uint64_t>(i)) % 16));
    for (int64_t i = 0; i < rows * cols; ++i) {
      const auto bits = static_cast<int>(random_bits(seed + 1, static_cast<uint64_t>(i)) % 16);
      auto& byte = nibbles_[static_cast<size_t>(i / 2)];
      byte = static_cast<uint8_t>(byte | bits << (i % 2 * 4));
      const int q = bits < 8 ? bits : bits - 16;
      const uint8_t factor = factors_[static_cast<size_t>(i / cols * groups + i % cols / group_size)];
      int8_.push_back(static_cast<int8_t>(factor * q));
    }
    for (float value : random_floats(seed + 2, rows)) scales_.push_back((value + 2) / 2000);
  }
  WeightSource source(Stored stored, Int8Inputs inputs) const {
    if (stored == Stored::kInt8)
      return {.tensor = {int8_.data(), DType::kInt8, {rows_, cols_}},
              .scales = scales_.data(),
              .int8_inputs = inputs};
    return {.tensor = {nibbles_.data(), DType::kUint8, {rows_, cols_ / 2}},
            .scales = scales_.data(),
            .int8_inputs = inputs,
            .factors = factors_.data(),
            .group_size = group_size_};
  }

 private:
  int64_t rows_, cols_, group_size_;
  std::vector<uint8_t> nibbles_, factors_;
  std::vector<int8_t> int8_;
  std::vector<float> scales_;
};

struct Network {
  Network(uint64_t seed, int64_t width)
      : gate(seed, width, kHidden, 32),
        up(seed + 10, width, kHidden, 32),
        down(seed + 20, kHidden, width, 64) {}
  MlpWeights load(CpuBackend& backend, Stored stored, Int8Inputs inputs) const {
    auto weights =
        backend.load_mlp(gate.source(stored, inputs), up.source(stored, inputs), down.source(stored, inputs));
    EXPECT_TRUE(weights.ok());
    return std::move(weights).value();
  }
  Matrix gate, up, down;
};

// run(backend, stored, inputs) gives the same bits for int4 and int8, whatever the placement.
template <typename Run>
void expect_int8s_bits(const Run& run) {
  const Isa best = detect_cpu_features().best_isa();
  for (Isa isa : {Isa::kReference, Isa::kAvx2, best}) {
    if (isa > best) continue;
    for (Int8Inputs inputs : {Int8Inputs::kInt8, Int8Inputs::kInt16}) {
      CpuBackend int8_backend(floating_placement(1), isa);
      const std::vector<float> want = run(int8_backend, Stored::kInt8, inputs);
      for (const Placement& placement : testing::placements({1, 2, 3})) {
        CpuBackend backend(placement, isa);
        const std::vector<float> got = run(backend, Stored::kInt4, inputs);
        ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0)
            << isa_name(isa) << ", " << placement.num_threads() << " threads on " << placement.num_nodes
            << " nodes";
      }
    }
  }
}

TEST(Int4Weights, Project) {
  const Matrix first(1, 150, kHidden, 32), second(50, 7, kHidden, 128);
  for (int64_t num_tokens : {1, 5, 40}) {
    const std::vector<float> x = random_floats(5, num_tokens * kHidden);
    expect_int8s_bits([&](CpuBackend& backend, Stored stored, Int8Inputs inputs) {
      const Weight a = backend.load_matrix(first.source(stored, inputs)).value();
      const Weight b = backend.load_matrix(second.source(stored, inputs)).value();
      EXPECT_EQ(a.cols, kHidden);
      std::vector<float> out(static_cast<size_t>(num_tokens * 157), 1.0f);
      const Projection outputs[] = {
          {.weight = &a, .y = out.data()},
          {.weight = &b, .y = out.data() + num_tokens * 150, .output = Projection::Output::kAdd}};
      backend.project({.x = x.data(), .norm = {}, .outputs = outputs, .num_tokens = num_tokens});
      return out;
    });
  }
}

TEST(Int4Weights, Mlp) {
  const Network network(1, kWidth);
  for (int64_t num_tokens : {1, 5, 40}) {
    const std::vector<float> residual = random_floats(2, num_tokens * kHidden);
    expect_int8s_bits([&](CpuBackend& backend, Stored stored, Int8Inputs inputs) {
      const MlpWeights weights = network.load(backend, stored, inputs);
      std::vector<float> out = residual;
      backend.mlp({.norm = {},
                   .weights = &weights,
                   .x = out.data(),
                   .residual = out.data(),
                   .num_tokens = num_tokens});
      EXPECT_NE(out, residual);
      return out;
    });
  }
}

// Half of the experts are int8 in both: they read the rows that int4 reads.
TEST(Int4Weights, Moe) {
  std::vector<Network> networks;
  for (uint64_t e = 0; e < kExperts; ++e) networks.emplace_back(100 * e + 3, kWidth);
  const Network shared(990, 2 * kWidth);
  const std::vector<float> router = random_floats(77, kExperts * kHidden);
  for (int64_t num_tokens : {1, 9, 70}) {
    const std::vector<float> residual = random_floats(2, num_tokens * kHidden);
    expect_int8s_bits([&](CpuBackend& backend, Stored stored, Int8Inputs inputs) {
      std::vector<MlpWeights> experts;
      for (size_t e = 0; e < networks.size(); ++e)
        experts.push_back(networks[e].load(backend, e % 2 == 0 ? stored : Stored::kInt8, inputs));
      const MlpWeights shared_weights = shared.load(backend, stored, inputs);
      const Weight router_weight =
          backend.load_matrix({.tensor = {router.data(), DType::kFloat32, {kExperts, kHidden}}}).value();
      std::vector<float> out = residual;
      backend.moe({.norm = {},
                   .routing = {.router = &router_weight, .experts_per_token = kChosen},
                   .experts = experts,
                   .shared = &shared_weights,
                   .x = out.data(),
                   .residual = out.data(),
                   .num_tokens = num_tokens});
      return out;
    });
  }
}

TEST(Int4Weights, RefusesGateAndUpOfDifferentGroups) {
  CpuBackend backend(floating_placement(1), Isa::kReference);
  const Matrix gate(1, 16, kHidden, 32), up(2, 16, kHidden, 64), down(3, kHidden, 16, 32);
  const auto load = [&](const Matrix& second) {
    return backend.load_mlp(gate.source(Stored::kInt4, Int8Inputs::kInt8),
                            second.source(Stored::kInt4, Int8Inputs::kInt8),
                            down.source(Stored::kInt4, Int8Inputs::kInt8));
  };
  EXPECT_TRUE(load(gate).ok());
  const auto weights = load(up);
  ASSERT_FALSE(weights.ok());
  EXPECT_NE(weights.status().message().find("int4 in groups of 32 and up as int4 in groups of 64"),
            std::string::npos)
      << weights.status().message();
}

}  // namespace
}  // namespace fathom::int4_test
