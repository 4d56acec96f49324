#include "benchmark/kernel_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/float16.h"
#include "benchmark/kernel_groups.h"
#include "benchmark/random_memory.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

KernelBenchOptions tiny_options(KernelGroup group) {
  return {.config = testing::tiny_config(),
          .model = "tiny",
          .isa = detect_cpu_features().best_isa(),
          .num_threads = 2,
          .tokens = {1, 30},
          .contexts = {5, 300},
          .only = group,
          .seconds = 1e-4,
          .pool_bytes = uint64_t{2} << 20};
}

KernelBenchReport run(const KernelBenchOptions& options) {
  auto report = bench_kernels(options, nullptr);
  EXPECT_TRUE(report.ok()) << report.status().message();
  if (!report.ok()) return {};
  for (const KernelSection& section : report->sections) {
    EXPECT_GT(section.moment.read_bytes_per_second, 0);
    EXPECT_FALSE(section.rows.empty()) << section.name;
    for (const KernelRow& row : section.rows) {
      EXPECT_GT(row.time.best, 0) << row.name;
      EXPECT_LE(row.time.best, row.time.median) << row.name;
      EXPECT_GT(row.bytes, 0) << row.name;
      EXPECT_GE(row.rotated_bytes, row.bytes) << row.name;
      EXPECT_FALSE(row.kernel.empty()) << row.name;
      EXPECT_EQ(row.share().has_value(), detect_cpu_features().avx2 || row.operations.total() == 0)
          << row.name;
    }
  }
  return *std::move(report);
}

std::set<std::string> names_of(const KernelSection& section) {
  std::set<std::string> names;
  for (const KernelRow& row : section.rows) names.insert(row.name);
  return names;
}

TEST(KernelBench, LinearsOfEveryFormat) {
  const KernelBenchReport report = run(tiny_options(KernelGroup::kLinear));
  ASSERT_EQ(report.sections.size(), 7u);
  const KernelSection& w8a16 = report.sections[1];
  EXPECT_EQ(w8a16.name, "w8a16");
  EXPECT_EQ(names_of(w8a16),
            (std::set<std::string>{"q_proj", "kv_a_proj", "o_proj", "dense gate_up", "dense down", "head"}));
  EXPECT_TRUE(names_of(report.sections[4]).contains("router"));  // never integers
  for (const KernelRow& row : w8a16.rows) {
    EXPECT_EQ(row.operations.total(), row.operations.int8_pair) << row.name;
    if (row.name == "dense gate_up") {
      EXPECT_EQ(row.shape, "2 x 24 x 16");
      EXPECT_EQ(row.operations.int8_pair, 2.0 * 2 * 24 * 16 * static_cast<double>(row.tokens));
      // Two pairs of panels of 64 padded inputs, and 64 scales.
      EXPECT_EQ(row.bytes, 4 * 16 * 64 + 4 * 64);
    }
  }
  const KernelSection& w4a16 = report.sections[3];
  EXPECT_EQ(w4a16.name, "w4a16");
  EXPECT_EQ(names_of(w4a16), names_of(w8a16));
  for (const KernelRow& row : w4a16.rows) {
    EXPECT_EQ(row.operations.total(), row.operations.int8_pair) << row.name;
    // Two pairs of panels of 128 padded inputs, and 64 scales.
    if (row.name == "dense gate_up") {
      EXPECT_EQ(row.bytes, 4 * 17 * 64 + 4 * 64);
    }
  }
}

TEST(KernelBench, ExpertsAndCompressedQueries) {
  const KernelBenchReport experts = run(tiny_options(KernelGroup::kExperts));
  EXPECT_EQ(names_of(experts.sections.back()),
            (std::set<std::string>{"expert gate_up", "expert down", "shared gate_up", "shared down"}));
  KernelBenchOptions options = tiny_options(KernelGroup::kLinear);
  options.config = testing::tiny_grouped_config();
  const KernelBenchReport linear = run(options);
  EXPECT_TRUE(names_of(linear.sections.back()).contains("q_b_proj"));
  EXPECT_FALSE(names_of(linear.sections.back()).contains("q_proj"));
}

TEST(KernelBench, AttentionInBothForms) {
  const KernelBenchReport report = run(tiny_options(KernelGroup::kAttention));
  ASSERT_EQ(report.sections.size(), 4u);
  const KernelRow& absorbed = report.sections[0].rows.back();
  EXPECT_EQ(absorbed.tokens, 16);
  EXPECT_EQ(absorbed.bytes, 16.0 * 300 * 2 * (8 + 4));
  EXPECT_EQ(absorbed.operations.attention, 2.0 * 2 * 16 * 300 * (2 * 8 + 4));
  const KernelRow& expanded = report.sections[1].rows.front();
  EXPECT_EQ(expanded.tokens, 512);
  EXPECT_EQ(expanded.operations.attention, 2.0 * 2 * (6 + 4 + 5) * 512 * 513 / 2);
  EXPECT_EQ(expanded.operations.expansion, 2.0 * 2 * 8 * (6 + 5) * 512);
  ASSERT_TRUE(report.forms.has_value());
  EXPECT_EQ(report.forms->context, 300);
  EXPECT_EQ(report.forms->rows.size(), 8u);
  for (const AttentionForms::Row& row : report.forms->rows) {
    EXPECT_GT(row.absorbed.best, 0);
    EXPECT_GT(row.expanded.best, 0);
  }
}

TEST(KernelBench, SmallKernels) {
  const KernelBenchReport report = run(tiny_options(KernelGroup::kSmall));
  ASSERT_EQ(report.sections.size(), 1u);
  EXPECT_EQ(report.sections[0].rows.size(), 9u + 8u);  // splits of 30 tokens are not merged
  KernelBenchOptions dense = tiny_options(KernelGroup::kSmall);
  dense.config.n_routed_experts = 0;
  EXPECT_FALSE(names_of(run(dense).sections[0]).contains("router's choice"));
}

TEST(KernelBench, Refuses) {
  const auto message = [](const KernelBenchOptions& options) {
    return bench_kernels(options, nullptr).status().message();
  };
  KernelBenchOptions options = tiny_options(KernelGroup::kSmall);
  options.tokens = {5000};
  EXPECT_NE(message(options).find("--tokens: 5000"), std::string::npos);
  options = tiny_options(KernelGroup::kSmall);
  options.seconds = 0;
  EXPECT_NE(message(options).find("--seconds"), std::string::npos);
  options = tiny_options(KernelGroup::kAttention);
  options.contexts = {1 << 20};
  EXPECT_NE(message(options).find("--contexts: 1048576"), std::string::npos);
  options = tiny_options(KernelGroup::kLinear);
  options.pool_bytes = 256;
  EXPECT_EQ(bench_kernels(options, nullptr).status().code(), ErrorCode::kResourceExhausted);
}

AttentionForms::Row row_of(int64_t tokens, double absorbed, double expanded) {
  return {.tokens = tokens, .absorbed = {.best = absorbed}, .expanded = {.best = expanded}};
}

TEST(KernelBench, TheCrossoverLiesBetweenRows) {
  const AttentionForms::Row rows[] = {row_of(64, 1, 2), row_of(128, 3, 2), row_of(256, 6, 3)};
  EXPECT_EQ(crossover_of(rows), 96);  // halfway from -1/2 to 1/2
  EXPECT_EQ(crossover_of({rows, 1}), std::nullopt);
  EXPECT_EQ(crossover_of({rows + 1, 2}), std::nullopt);  // expanded throughout
}

TEST(KernelBench, CallsAreCountedAndNumbered) {
  TimedTeam team(2);
  std::vector<int64_t> calls[2];
  const CallTime time =
      time_calls(team, 1e-4, [&](int thread, int64_t call) { calls[thread].push_back(call); });
  // How many depends on how long the first took on a busy machine.
  EXPECT_GE(time.num_calls, 1);
  EXPECT_EQ(calls[0], calls[1]);
  ASSERT_EQ(static_cast<int64_t>(calls[0].size()), time.num_calls);
  EXPECT_EQ(calls[0].back(), time.num_calls - 1);
}

TEST(RandomMemory, FloatsAreFiniteAndNormal) {
  std::vector<std::byte> bytes(4096);
  const auto check = [&](DType dtype, auto load) {
    fill_random(bytes.data(), 4096, dtype);
    const auto size = static_cast<int64_t>(dtype_bytes(dtype));
    int64_t num_negative = 0;
    for (int64_t i = 0; i < 4096 / size; ++i) {
      const float value = load(bytes.data() + i * size);
      EXPECT_GE(std::abs(value), 0x1p-7f) << dtype_name(dtype);
      EXPECT_LT(std::abs(value), 0x1p-6f) << dtype_name(dtype);
      num_negative += value < 0 ? 1 : 0;
    }
    EXPECT_GT(num_negative, 4096 / size / 4);
  };
  check(DType::kBFloat16, [](const void* p) { return to_float(*static_cast<const BFloat16*>(p)); });
  check(DType::kFloat16, [](const void* p) { return to_float(*static_cast<const Float16*>(p)); });
  check(DType::kFloat32, [](const void* p) { return *static_cast<const float*>(p); });
}

TEST(RandomMemory, CopiesDoNotOverlapAndStayInside) {
  TimedTeam team(1);
  WeightPool pool(team);
  ASSERT_TRUE(pool.reserve(10000).ok());
  pool.fill(DType::kInt8);
  const PackedCopies copies = pool.cut(3, 1, 1024);
  EXPECT_EQ(copies.num_copies, 3);
  EXPECT_EQ(copies.panels(1, 0) - copies.panels(0, 0), 3 * 1024);
  EXPECT_LE(static_cast<uint64_t>(copies.num_copies * 3 * 1024), pool.bytes());
}

}  // namespace
}  // namespace fathom
