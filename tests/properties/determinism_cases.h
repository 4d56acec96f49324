// What the determinism tests run: models, caches and instruction sets, and requests on both sides of every
// limit that the arithmetic has.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "support/engine.h"

namespace fathom::testing {

// Weights and what they are multiplied in. Quantised and many-headed ones are synthesised once a process into
// a folder that goes with it.
struct DeterminismModel {
  const char* name = "";
  const char* golden = "";  // folder of tests/golden: its weights, or the config of the synthetic ones
  std::optional<DType> dtype = {};  // of activations; default: the checkpoint's
  bool synthetic = false;
  std::optional<QuantType> quantize = {};
  std::optional<QuantType> mla_quantize = {};
  int64_t num_heads = 0;  // of a synthetic one; 0: as in the config
};

struct DeterminismCase {
  DeterminismModel model;
  std::optional<DType> cache;  // nullopt: auto, the activation dtype
  Isa isa = Isa::kReference;

  std::string name() const;
  bool machine_has_it() const { return isa <= detect_cpu_features().best_isa(); }
  // The scalar kernels and the sanitizers are tens of times slower: the same dimensions, fewer values.
  bool is_slow() const;
  // Room for max_num_batched_tokens sequences, contexts of 320 tokens in pages of 16, one thread.
  EngineOptions options(int64_t max_num_batched_tokens) const;
};

inline void PrintTo(const DeterminismCase& test_case, std::ostream* out) { *out << test_case.name(); }

inline constexpr int64_t kCaseModelLen = 320;
inline constexpr int64_t kCaseCacheTokens = 6400;

// The folder with the model's checkpoint; made by the first call.
const std::string& model_directory(const DeterminismModel& model);

// Models, caches and instruction sets crossed, those that this machine lacks included.
std::vector<DeterminismCase> determinism_cases();
// The same with the best instruction set of this machine only.
std::vector<DeterminismCase> best_isa_cases();

std::vector<int32_t> random_prompt(uint64_t seed, int64_t length, int64_t vocab_size);

// Prompts on both sides of one token, of a block of keys, of the form's switch (kExpandedPromptTokens) and,
// by what they generate, of a split of keys; fewer where the case is slow. Greedy and sampled in turn.
std::vector<Request> boundary_requests(const DeterminismCase& test_case, int64_t vocab_size);
// Short requests to run beside them.
std::vector<Request> company(int64_t count, int64_t vocab_size);

// Names the first request and token that differ.
void expect_equal_answers(const std::vector<Answer>& got, const std::vector<Answer>& want,
                          const std::string& what);
// Bit by bit; names the first position that differs.
void expect_equal_logits(const std::vector<float>& got, const std::vector<float>& want, int64_t vocab_size,
                         const std::string& what);

}  // namespace fathom::testing
