// The CUDA backend over several ranks (docs/cuda.md), on emulated devices: with the same slices every number
// of ranks gives the same bits (D2) and company changes none (D1), however what the ranks have in common
// travels.
#include <gtest/gtest.h>

#include "base/random.h"
#include "device/backend.h"
#include "device/cuda/emulated_device.h"
#include "device/cuda/fake_nccl.h"
#include "engine/engine_ranks.h"
#include "support/ranks.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom::testing {
namespace {

constexpr int64_t kSlices = 4;

// GPUs of the machine; NCCL is used where there is one a rank.
void use_machine(int num_devices) {
  emulated_machine() = {.num_devices = num_devices,
                        .open_nccl = [] { return Result<Nccl>(FakeNccl::table()); }};
}

struct CudaRanksCase {
  const char* name = "";
  ModelConfig config;
  DType dtype = DType::kBFloat16;
  int64_t num_expert_groups = 1;
};

void PrintTo(const CudaRanksCase& test_case, std::ostream* out) { *out << test_case.name; }

ModelConfig sliced(ModelConfig config) {
  config.num_attention_heads = config.num_key_value_heads = kSlices;
  return config;
}

class CudaRanks : public ::testing::TestWithParam<CudaRanksCase> {
 protected:
  void SetUp() override { write_tiny_checkpoint({.config = GetParam().config, .directory = model_}); }
  void TearDown() override { emulated_machine() = {}; }
  EngineOptions options() const {
    EngineOptions options = small_options(model_);
    options.device = DeviceKind::kCuda;
    options.num_threads = 1;
    options.max_num_batched_tokens = 32;  // prompts come in chunks
    options.dtype = GetParam().dtype;
    options.expanded_prompt_tokens = 30;  // the longer prompt's
    options.num_slices = kSlices;
    options.num_expert_groups = GetParam().num_expert_groups;
    return options;
  }

  TempDir folder_;
  std::string model_ = folder_.file("model");
};

INSTANTIATE_TEST_SUITE_P(All, CudaRanks,
                         ::testing::Values(CudaRanksCase{"bf16", sliced(tiny_config())},
                                           CudaRanksCase{"float32_groups", sliced(tiny_grouped_config()),
                                                         DType::kFloat32, 2}),
                         [](const auto& test_case) { return std::string(test_case.param.name); });

std::vector<int32_t> prompt_of(uint64_t seed, int64_t length, int64_t vocab_size) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) {
    ids.push_back(static_cast<int32_t>(random_bits(seed, static_cast<uint64_t>(i)) %
                                       static_cast<uint64_t>(vocab_size)));
  }
  return ids;
}

struct Outcome {
  std::vector<Answer> together;
  Answer last_alone;
  std::vector<float> logits;
};

// The last prompt is longer than a chunk.
Outcome outcome_of(Engine& engine) {
  const int64_t vocab_size = engine.config().vocab_size;
  std::vector<Request> requests;
  for (int64_t length : {7, 40})
    requests.push_back({prompt_of(static_cast<uint64_t>(length), length, vocab_size), greedy_params(3)});
  Outcome outcome;
  outcome.together = run_all(engine, requests);
  outcome.last_alone = run_all(engine, {requests.back()})[0];
  outcome.logits = score_all(engine, prompt_of(9, 20, vocab_size));
  return outcome;
}

TEST_P(CudaRanks, AnyNumberOfThemGivesTheSameBits) {
  Outcome want;
  use_machine(1);
  with_ranks(1, options(), [&](Engine& engine) { want = outcome_of(engine); });
  ASSERT_FALSE(want.logits.empty());
  const std::pair<int, int> ranks_and_devices[] = {{2, 1}, {2, 2}, {4, 2}, {4, 4}};
  for (const auto& [num_ranks, num_devices] : ranks_and_devices) {
    for (DataParallelAttention attention : {DataParallelAttention::kOff, DataParallelAttention::kOn}) {
      use_machine(num_devices);
      EngineOptions shared = options();
      shared.data_parallel_attention = attention;
      Outcome got;
      with_ranks(num_ranks, shared, [&](Engine& engine) { got = outcome_of(engine); });
      const std::string what =
          fmt::format("{} ranks, {} devices, {}", num_ranks, num_devices,
                      attention == DataParallelAttention::kOn ? "sequences shared" : "heads shared");
      EXPECT_EQ(got.together, want.together) << what;
      EXPECT_EQ(got.last_alone, want.together.back()) << what;
      EXPECT_TRUE(got.logits == want.logits) << what;
    }
  }
}

TEST(CudaRanksMemory, IsSharedByTheRanksOfAGpu) {
  constexpr uint64_t kBytes = uint64_t{6} << 30;
  for (const auto& [num_devices, share] :
       {std::pair{1, kBytes / 4}, {2, kBytes / 2}, {4, kBytes}, {8, kBytes}}) {
    use_machine(num_devices);
    on_ranks(4, [&, expected = share](int, Communicator& communicator) {
      auto backend =
          make_cuda_backend({.local_rank = communicator.layout().local_rank(), .num_host_threads = 1});
      ASSERT_TRUE(backend.ok()) << backend.status().message();
      const auto ranks = (*backend)->connect(communicator);
      ASSERT_TRUE(ranks.ok()) << ranks.status().message();
      EXPECT_EQ(share_of_memory({.system_available = kBytes}, *ranks).system_available, expected);
      EXPECT_TRUE(communicator.finish().ok());
    });
  }
  emulated_machine() = {};
}

}  // namespace
}  // namespace fathom::testing
