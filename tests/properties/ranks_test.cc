// Tensor parallelism (docs/parallel.md): with the same slices every number of ranks gives the same bits (D2),
// and a group of ranks gives a request the same bits alone, in a batch, in chunks and over a taken prefix
// (D1).
#include <gtest/gtest.h>

#include "kernels/packed.h"
#include "model/rank_weights.h"
#include "model/weight_loader.h"
#include "properties/determinism_cases.h"
#include "shard/shard.h"
#include "support/ranks.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom::testing {
namespace {

constexpr QuantType kRanksW8A8 = QuantType::kW8A8Dynamic;

struct RanksCase {
  DeterminismModel model;
  std::optional<DType> cache = {};
  int64_t num_slices = 4;
  int64_t num_expert_groups = 1;
};

void PrintTo(const RanksCase& test_case, std::ostream* out) { *out << test_case.model.name; }

class Ranks : public ::testing::TestWithParam<RanksCase> {
 protected:
  EngineOptions options() const {
    const DeterminismCase as_case{GetParam().model, GetParam().cache, detect_cpu_features().best_isa()};
    EngineOptions options = as_case.options(128);
    options.num_slices = GetParam().num_slices;
    options.num_expert_groups = GetParam().num_expert_groups;
    return options;
  }
};

const RanksCase kCases[] = {
    {{.name = "bf16", .golden = "lite_like"}},
    {{.name = "float32_groups", .golden = "q_lora_groups", .dtype = DType::kFloat32}, DType::kInt8, 4, 2},
    {{.name = "bias", .golden = "attention_bias"}},
    {{.name = "ranks_w8a8",
      .golden = "lite_like",
      .synthetic = true,
      .quantize = kRanksW8A8,
      .num_heads = 16},
     DType::kInt8,
     16},
    {{.name = "ranks_mix",
      .golden = "q_lora_groups",
      .synthetic = true,
      .quantize = kRanksW8A8,
      .mla_quantize = QuantType::kW8A16},
     std::nullopt,
     4,
     4},
    {{.name = "ranks_int4", .golden = "lite_like", .synthetic = true, .quantize = QuantType::kW4A8Dynamic}},
    {{.name = "ranks_int4_16", .golden = "lite_like", .synthetic = true, .quantize = QuantType::kW4A16},
     DType::kInt8},
};

INSTANTIATE_TEST_SUITE_P(All, Ranks, ::testing::ValuesIn(kCases),
                         [](const auto& test_case) { return std::string(test_case.param.model.name); });

// Short and long prompts, greedy and sampled; the last continues the first's text.
std::vector<Request> requests(int64_t vocab_size) {
  std::vector<Request> all;
  for (int64_t length : {1, 37, 180, 60}) {
    SamplingParams sampling = greedy_params(12);
    if (all.size() % 2 == 1) sampling.temperature = 0.8f;
    sampling.seed = all.size();
    all.push_back({random_prompt(5, length, vocab_size), sampling});
  }
  std::vector<int32_t> longer = all[2].prompt_ids;
  longer.insert(longer.end(), {3, 4, 5});
  all.push_back({longer, greedy_params(6)});
  return all;
}

struct Outcome {
  std::vector<Answer> together;
  std::vector<Answer> alone;
  std::vector<float> logits;
  double prompt_logprob = 0;
  int64_t num_cached_tokens = 0;
};

double score_prompt_logprob(Engine& engine, const std::vector<int32_t>& prompt) {
  Request request{prompt, greedy_params(1)};
  request.scoring.first = 1;
  double sum = 0;
  const auto id = engine.submit(request, [&](const RequestEvent& event) {
    if (event.prompt_scores == nullptr) return;
    for (double logprob : event.prompt_scores->logprobs) sum += logprob;
  });
  EXPECT_TRUE(id.ok());
  while (engine.has_work()) EXPECT_TRUE(engine.step().ok());
  return sum;
}

Outcome outcome_of(Engine& engine) {
  const int64_t vocab_size = engine.config().vocab_size;
  const std::vector<Request> all = requests(vocab_size);
  Outcome outcome;
  outcome.together = run_all(engine, all);
  for (const Request& request : all) outcome.alone.push_back(run_all(engine, {request})[0]);
  outcome.num_cached_tokens = engine.statistics().num_cached_tokens;
  outcome.logits = score_all(engine, random_prompt(9, 130, vocab_size));
  outcome.prompt_logprob = score_prompt_logprob(engine, random_prompt(11, 150, vocab_size));
  return outcome;
}

void expect_outcome(const Outcome& got, const Outcome& want, const std::string& what) {
  ASSERT_FALSE(got.logits.empty()) << what;
  EXPECT_EQ(got.together, got.alone) << what;
  EXPECT_GT(got.num_cached_tokens, 0) << what << ": no prefix was taken over";
  EXPECT_EQ(got.together, want.together) << what;
  EXPECT_TRUE(got.logits == want.logits) << what;
  EXPECT_EQ(got.prompt_logprob, want.prompt_logprob) << what;
}

TEST_P(Ranks, AnyNumberOfThemGivesTheSameBits) {
  Outcome want;
  for (int num_ranks = 1; num_ranks <= GetParam().num_slices; num_ranks *= 2) {
    Outcome got;
    with_ranks(num_ranks, options(), [&](Engine& engine) { got = outcome_of(engine); });
    if (num_ranks == 1) want = got;
    expect_outcome(got, want, fmt::format("{} ranks", num_ranks));
  }
  EngineOptions shared = options();
  shared.data_parallel_attention = DataParallelAttention::kOn;
  for (int num_ranks : {1, 2, 4}) {
    Outcome got;
    with_ranks(num_ranks, shared, [&](Engine& engine) { got = outcome_of(engine); });
    expect_outcome(got, want, fmt::format("{} ranks that share sequences", num_ranks));
  }
}

// Each rank loads its own files instead of cutting its part out of the model's (`fathom shard`).
TEST_P(Ranks, ShardedFoldersGiveTheSameBits) {
  const TempDir folder;
  const EngineOptions whole = options();
  for (int num_ranks = 1; num_ranks <= GetParam().num_slices; num_ranks *= 2) {
    EngineOptions sharded = whole;
    sharded.model_dir = folder.file(fmt::to_string(num_ranks));
    const auto made = shard_model({.source = whole.model_dir,
                                   .destination = sharded.model_dir,
                                   .num_ranks = num_ranks,
                                   .num_expert_groups = whole.num_expert_groups,
                                   .num_slices = whole.num_slices,
                                   .file_bytes = 20000},
                                  nullptr);
    ASSERT_TRUE(made.ok()) << made.status().message();
    Outcome want, got;
    with_ranks(num_ranks, whole, [&](Engine& engine) { want = outcome_of(engine); });
    with_ranks(num_ranks, sharded, [&](Engine& engine) { got = outcome_of(engine); });
    ASSERT_FALSE(got.logits.empty()) << num_ranks << " ranks";
    EXPECT_EQ(got.together, want.together) << num_ranks << " ranks";
    EXPECT_TRUE(got.logits == want.logits) << num_ranks << " ranks";
    EXPECT_EQ(got.prompt_logprob, want.prompt_logprob) << num_ranks << " ranks";
  }
}

void expect_same_panels(const Weight& a, const Weight& b) {
  ASSERT_EQ(a.num_panels, b.num_panels);
  const auto bytes = static_cast<size_t>(a.num_panels * kernels::panel_bytes(a.cols, a.format));
  if (bytes == 0) return;
  EXPECT_EQ(std::memcmp(a.parts[0].panels, b.parts[0].panels, bytes), 0);
}

// Cut out of the whole model, mapped, and from the rank's files, mapped and as a stream past the cache.
TEST(ShardedFolder, ARanksFilesAreReadInEitherWay) {
  const TempDir folder;
  ModelConfig config = tiny_config();
  config.num_attention_heads = config.num_key_value_heads = 4;
  const std::string source = folder.file("source"), destination = folder.file("sharded");
  write_tiny_checkpoint({config, source});
  const auto made =
      shard_model({.source = source, .destination = destination, .num_ranks = 2, .num_slices = 4}, nullptr);
  ASSERT_TRUE(made.ok()) << made.status().message();
  Sharding sharding = made->sharding;
  sharding.rank = 1;
  const auto whole = Checkpoint::open(source);
  const auto own = open_checkpoint(destination, sharding);
  ASSERT_TRUE(whole.ok() && own.ok());
  std::vector<std::unique_ptr<Backend>> backends;
  const auto load = [&](const Checkpoint& checkpoint, WeightReading reading) {
    backends.push_back(std::move(make_cpu_backend({.num_threads = 1})).value());
    return WeightLoader(*backends.back(), checkpoint, {}, config, sharding, reading, nullptr).load();
  };
  const auto want = load(**whole, WeightReading::kMapped);
  ASSERT_TRUE(want.ok()) << want.status().message();
  for (WeightReading reading : {WeightReading::kMapped, WeightReading::kStreamed}) {
    const auto got = load(**own, reading);
    ASSERT_TRUE(got.ok()) << got.status().message();
    expect_same_panels(want->lm_head, got->lm_head);
    EXPECT_EQ(want->embed_tokens.first_row, got->embed_tokens.first_row);
    for (size_t layer = 0; layer < want->layers.size(); ++layer) {
      const LayerWeights& a = want->layers[layer];
      const LayerWeights& b = got->layers[layer];
      ASSERT_EQ(b.network.size(), 2u);
      for (size_t slice = 0; slice < 2; ++slice) {
        expect_same_panels(a.attention.o_proj[slice], b.attention.o_proj[slice]);
        expect_same_panels(a.network[slice].dense.down, b.network[slice].dense.down);
        expect_same_panels(a.network[slice].shared.down, b.network[slice].shared.down);
        for (size_t e = 0; e < a.network[slice].experts.size(); ++e)
          expect_same_panels(a.network[slice].experts[e].down, b.network[slice].experts[e].down);
      }
    }
  }
}

class RankRefusal : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_.file("model");
    write_tiny_checkpoint({.config = tiny_config(), .directory = model_});
  }
  // The messages of two ranks, the second of which has other options.
  std::vector<std::string> messages(const std::function<void(EngineOptions&)>& change) {
    std::vector<std::string> found(2);
    on_ranks(2, [&](int rank, Communicator& communicator) {
      EngineOptions options = small_options(model_);
      options.num_threads = 1;
      options.communicator = &communicator;
      if (rank == 1) change(options);
      found[static_cast<size_t>(rank)] = Engine::load(options, nullptr).status().message();
    });
    return found;
  }

  TempDir folder_;
  std::string model_;
};

TEST_F(RankRefusal, OptionsThatDifferAreNamed) {
  for (const std::string& message : messages([](EngineOptions& options) { options.block_size = 8; }))
    EXPECT_EQ(message, "ranks 0 and 1 differ in --block-size: 16 on rank 0, 8 on rank 1");
  for (const std::string& message : messages([](EngineOptions& options) { options.dtype = DType::kFloat16; }))
    EXPECT_EQ(message, "ranks 0 and 1 differ in --dtype: auto on rank 0, fp16 on rank 1");
  for (const std::string& message :
       messages([](EngineOptions& options) { options.data_parallel_attention = DataParallelAttention::kOn; }))
    EXPECT_EQ(message, "ranks 0 and 1 differ in --dp-attention: off on rank 0, on on rank 1");
  for (const std::string& message : messages([](EngineOptions& options) { options.num_slices = 4; }))
    EXPECT_NE(message.find("--slices: 4 does not divide num_attention_heads 2"), std::string::npos)
        << message;
}

TEST_F(RankRefusal, OtherWeightsAreNoticed) {
  const std::string other = folder_.file("other");
  ModelConfig config = tiny_config();
  config.torch_dtype = DType::kFloat32;
  write_tiny_checkpoint({.config = config, .directory = other});
  for (const std::string& message : messages([&](EngineOptions& options) { options.model_dir = other; }))
    EXPECT_NE(message.find("ranks 0 and 1 differ in config.json"), std::string::npos) << message;
}

TEST_F(RankRefusal, OtherValuesOfTheSameWeightsAreNoticed) {
  const std::string other = folder_.file("other");
  SynthOptions synth;
  synth.config = tiny_config();
  synth.output = other;
  synth.seed = 1;
  ASSERT_TRUE(synthesize(synth, nullptr).ok());
  for (const std::string& message : messages([&](EngineOptions& options) { options.model_dir = other; }))
    EXPECT_EQ(message.find("ranks 0 and 1 differ in the weights' values: "), 0u) << message;
}

TEST_F(RankRefusal, RanksOfTwoShardingsAreNoticed) {
  const std::string sharded = folder_.file("sharded"), other = folder_.file("other");
  for (const auto& [destination, file_bytes] : {std::pair{sharded, 1}, {other, 1 << 30}}) {
    ASSERT_TRUE(shard_model({.source = model_,
                             .destination = destination,
                             .num_ranks = 2,
                             .file_bytes = static_cast<uint64_t>(file_bytes)},
                            nullptr)
                    .ok());
  }
  for (const std::string& message : messages([&](EngineOptions& options) { options.model_dir = sharded; }))
    EXPECT_EQ(message.find("ranks 0 and 1 differ in sharding.json: none on rank 0, "), 0u) << message;
  model_ = other;
  for (const std::string& message : messages([&](EngineOptions& options) { options.model_dir = sharded; }))
    EXPECT_EQ(message.find("ranks 0 and 1 differ in sharding.json: "), 0u) << message;
}

TEST_F(RankRefusal, AFailureOfOneIsAFailureOfAll) {
  const auto found = messages([](EngineOptions& options) { options.model_dir = "/nowhere"; });
  EXPECT_NE(found[1].find("/nowhere"), std::string::npos) << found[1];
  EXPECT_EQ(found[0].find("rank 1 on node 0 failed: /nowhere"), 0u) << found[0];
}

TEST_F(RankRefusal, ARankThatLeavesFailsTheStep) {
  std::string message;
  on_ranks(2, [&](int rank, Communicator& communicator) {
    EngineOptions options = small_options(model_);
    options.num_threads = 1;
    options.communicator = &communicator;
    const auto engine = load_engine(options);
    ASSERT_NE(engine, nullptr);
    if (rank == 1) return communicator.fail("its memory is gone");
    ASSERT_TRUE(engine->submit({{1, 2, 3}, greedy_params(5)}, [](const RequestEvent&) {}).ok());
    message = engine->step().message();
  });
  EXPECT_EQ(message, "rank 1 on node 0 failed: its memory is gone");
}

}  // namespace
}  // namespace fathom::testing
