#include "properties/determinism_cases.h"

#include <cstring>
#include <map>
#include <memory>

#include "base/random.h"
#include "engine/runner.h"
#include "model/memory_plan.h"
#include "model/synth.h"
#include "support/golden.h"
#include "support/sanitizer.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

constexpr QuantType kW8A8 = QuantType::kW8A8Dynamic;
constexpr QuantType kW8A16 = QuantType::kW8A16;
constexpr QuantType kW4A8 = QuantType::kW4A8Dynamic;
constexpr QuantType kW4A16 = QuantType::kW4A16;

// Attention takes heads in groups of 16 where rows are few (CpuBackend), so twenty heads are cut in some
// batches and not in others.
constexpr int64_t kManyHeads = 20;

const DeterminismModel kModels[] = {
    {.name = "bf16", .golden = "lite_like"},
    {.name = "bf16_in_float32", .golden = "lite_like", .dtype = DType::kFloat32},
    {.name = "bf16_groups", .golden = "q_lora_groups"},
    {.name = "bf16_heads", .golden = "lite_like", .synthetic = true, .num_heads = kManyHeads},
    {.name = "fp16", .golden = "new_spelling_sharded"},
    {.name = "float32_odd", .golden = "odd_sizes"},
    {.name = "w8a8", .golden = "lite_like", .synthetic = true, .quantize = kW8A8},
    {.name = "w8a8_groups", .golden = "q_lora_groups", .synthetic = true, .quantize = kW8A8},
    {.name = "w8a16", .golden = "lite_like", .synthetic = true, .quantize = kW8A16},
    {.name = "w8a16_groups", .golden = "q_lora_groups", .synthetic = true, .quantize = kW8A16},
    {.name = "mix_heads",
     .golden = "lite_like",
     .synthetic = true,
     .quantize = kW8A8,
     .mla_quantize = kW8A16,
     .num_heads = kManyHeads},
    {.name = "mix_groups",
     .golden = "q_lora_groups",
     .synthetic = true,
     .quantize = kW8A8,
     .mla_quantize = kW8A16},
    {.name = "mix_odd_in_float32",
     .golden = "odd_sizes",
     .synthetic = true,
     .quantize = kW8A8,
     .mla_quantize = kW8A16},
    {.name = "w4a8_groups", .golden = "q_lora_groups", .synthetic = true, .quantize = kW4A8},
    {.name = "w4a16", .golden = "lite_like", .synthetic = true, .quantize = kW4A16},
    {.name = "mix_w4_heads",
     .golden = "lite_like",
     .synthetic = true,
     .quantize = kW4A8,
     .mla_quantize = kW8A16,
     .num_heads = kManyHeads},
};

void synthesize_model(const DeterminismModel& model, const std::string& output) {
  auto config = load_model_config(golden_dir(model.golden));
  ASSERT_TRUE(config.ok()) << config.status().message();
  if (model.num_heads > 0) config->num_attention_heads = config->num_key_value_heads = model.num_heads;
  config->quantize = model.quantize;
  config->mla_quantize = model.mla_quantize;
  SynthOptions options;
  options.config = *config;
  options.output = output;
  const auto result = synthesize(options, nullptr);
  ASSERT_TRUE(result.ok()) << result.status().message();
}

}  // namespace

std::string DeterminismCase::name() const {
  return fmt::format("{}_{}_cache_{}", model.name, cache ? dtype_name(*cache) : "auto", isa_name(isa));
}

bool DeterminismCase::is_slow() const { return kSanitized || isa == Isa::kReference; }

EngineOptions DeterminismCase::options(int64_t max_num_batched_tokens) const {
  EngineOptions options = small_options(model_directory(model));
  options.isa = isa;
  options.num_threads = 1;
  options.dtype = model.dtype;
  options.kv_cache_dtype = cache;
  options.max_model_len = kCaseModelLen;
  options.max_num_batched_tokens = max_num_batched_tokens;
  // As many rows of logits as tokens, so that Engine::score takes the same chunks as a prompt.
  options.max_num_seqs = max_num_batched_tokens;
  if (const auto config = load_model_config(options.model_dir); config.ok()) {
    options.kv_memory_bytes =
        kCaseCacheTokens *
        cache_bytes_per_token(*config, cache.value_or(model.dtype.value_or(config->torch_dtype)));
  }
  return options;
}

const std::string& model_directory(const DeterminismModel& model) {
  static std::map<std::string, std::string> folders;
  static std::vector<std::unique_ptr<TempDir>> made;
  std::string& folder = folders[model.name];
  if (!folder.empty()) return folder;
  if (model.synthetic) {
    made.push_back(std::make_unique<TempDir>());
    folder = made.back()->path();
    synthesize_model(model, folder);
  } else {
    folder = golden_dir(model.golden);
  }
  return folder;
}

namespace {

// Which caches a model is run with on one tier: both on the best tier of this machine (and on those it lacks,
// which are skipped by name), one of them on those below, which are the same frame around other kernels.
// Fewer models where everything is slow.
std::vector<DeterminismCase> cases_of(size_t model_index, Isa isa) {
  const Isa best = detect_cpu_features().best_isa();
  const DeterminismModel& model = kModels[model_index];
  const DeterminismCase with_auto{model, std::nullopt, isa}, with_int8{model, DType::kInt8, isa};
  const std::vector<DeterminismCase> one = {model_index % 2 == 0 ? with_auto : with_int8};
  if (isa == Isa::kReference)
    return model_index % 5 == 2 && !kSanitized ? one : std::vector<DeterminismCase>();
  if (kSanitized) return isa >= best || model_index % 3 == 0 ? one : std::vector<DeterminismCase>();
  return isa >= best ? std::vector{with_auto, with_int8} : one;
}

}  // namespace

std::vector<DeterminismCase> determinism_cases() {
  std::vector<DeterminismCase> cases;
  for (Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    for (size_t i = 0; i < std::size(kModels); ++i) {
      for (DeterminismCase& test_case : cases_of(i, isa)) cases.push_back(std::move(test_case));
    }
  }
  return cases;
}

std::vector<DeterminismCase> best_isa_cases() {
  const Isa best = detect_cpu_features().best_isa();
  std::vector<DeterminismCase> cases;
  for (size_t i = 0; i < std::size(kModels); i += kSanitized ? 3 : 1) {
    for (DeterminismCase& test_case : cases_of(i, best)) cases.push_back(std::move(test_case));
  }
  return cases;
}

std::vector<int32_t> random_prompt(uint64_t seed, int64_t length, int64_t vocab_size) {
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(random_bits(seed, i) % static_cast<uint64_t>(vocab_size));
  }
  return ids;
}

namespace {

Request request_of(uint64_t index, int64_t prompt_len, int64_t max_tokens, int64_t vocab_size) {
  SamplingParams sampling = greedy_params(max_tokens);
  sampling.temperature = index % 3 == 0 ? 0 : 0.9;
  sampling.top_p = 0.95;
  sampling.seed = index;
  return {random_prompt(index, prompt_len, vocab_size), sampling};
}

}  // namespace

std::vector<Request> boundary_requests(const DeterminismCase& test_case, int64_t vocab_size) {
  // 60 + 8 crosses a block of 64 keys in the absorbed form, 251 + 8 a split of 256.
  static_assert(kExpandedPromptTokens == 171);
  static_assert(kernels::kKeyBlock == 64 && kernels::kKeySplit == 256);
  std::vector<int64_t> lengths = {300, 1, 171, 40, 251, 60, 170};
  if (test_case.is_slow()) lengths = {171, 1, 60};
  std::vector<Request> requests;
  for (size_t i = 0; i < lengths.size(); ++i) requests.push_back(request_of(i, lengths[i], 8, vocab_size));
  return requests;
}

std::vector<Request> company(int64_t count, int64_t vocab_size) {
  std::vector<Request> requests;
  for (int64_t i = 0; i < count; ++i) {
    requests.push_back(request_of(static_cast<uint64_t>(1000 + i), 1 + (i * 37) % 40, 1 + i % 7, vocab_size));
  }
  return requests;
}

void expect_equal_answers(const std::vector<Answer>& got, const std::vector<Answer>& want,
                          const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got[i].ids.size(), want[i].ids.size()) << what << ": request " << i;
    for (size_t k = 0; k < want[i].ids.size(); ++k) {
      ASSERT_EQ(got[i].ids[k], want[i].ids[k]) << what << ": request " << i << " token " << k;
      ASSERT_EQ(got[i].logprobs[k], want[i].logprobs[k]) << what << ": request " << i << " token " << k;
    }
  }
}

void expect_equal_logits(const std::vector<float>& got, const std::vector<float>& want, int64_t vocab_size,
                         const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(std::memcmp(&got[i], &want[i], sizeof(float)), 0)
        << what << ": position " << i / static_cast<size_t>(vocab_size) << " logit "
        << i % static_cast<size_t>(vocab_size) << " is " << got[i] << ", was " << want[i];
  }
}

}  // namespace fathom::testing
