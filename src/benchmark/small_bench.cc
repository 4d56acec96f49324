#include <algorithm>

#include "base/checked_math.h"
#include "benchmark/kernel_groups.h"
#include "benchmark/random_memory.h"
#include "device/input_rows.h"
#include "model/rope.h"

namespace fathom {
namespace {

// Partial results of 4096 keys, for as many tokens as decode at once.
constexpr int64_t kSplits = 4096 / kernels::kKeySplit;
constexpr int64_t kMaxMergeTokens = 16;

struct PrepareForm {
  const char* name;
  InputForm form;
  double value_bytes;  // written
};
constexpr PrepareForm kPrepareForms[] = {{"norm, float32", InputForm::kFloat32, 4},
                                         {"norm, bf16", InputForm::kBFloat16, 2},
                                         {"norm, int8", InputForm::kInt8, 1},
                                         {"norm, int8 pair", InputForm::kInt8Pair, 2}};
constexpr DType kCacheTypes[] = {DType::kBFloat16, DType::kInt8};

// What a thread gets of num_tokens.
IndexRange tokens_of(const KernelBench& bench, int64_t num_tokens, int thread) {
  return static_share(num_tokens, 1, thread, bench.team().size());
}

// All of these work on what was written a moment before: the same memory in every call.
KernelRow small_row(const char* name, const char* kernel, std::string shape, int64_t tokens, double bytes) {
  return {.name = name,
          .kernel = kernel,
          .shape = std::move(shape),
          .tokens = tokens,
          .bytes = bytes,
          .rotated_bytes = bytes};
}

void time_prepare(const KernelBench& bench, int64_t num_tokens, SectionMeter& section) {
  const int64_t width = bench.options.config.hidden_size;
  const AlignedBuffer x = random_floats(num_tokens * width);
  const AlignedBuffer norm = random_floats(width);
  for (const PrepareForm& form : kPrepareForms) {
    InputRows rows;
    rows.resize(num_tokens, width, {form.form});
    const double bytes = static_cast<double>(num_tokens * width) * (sizeof(float) + form.value_bytes);
    section.add(
        small_row(form.name, bench.table.prepare.name, fmt::format("{} wide", width), num_tokens, bytes),
        [&](int thread, int64_t) {
          const IndexRange tokens = tokens_of(bench, num_tokens, thread);
          kernels::PrepareParams params{.x = x.floats(),
                                        .norm_weight = norm.floats(),
                                        .width = width,
                                        .x_stride = width,
                                        .eps = 1e-6f,
                                        .rounding = activation_rounding(bench.options.config),
                                        .int8_zero_point = bench.table.int8_zero_point,
                                        .begin = tokens.begin,
                                        .end = tokens.end};
          rows.set_destinations(params, 0);
          bench.table.prepare(params);
        });
  }
}

// Positions 0 to T of one sequence in as many rows of a cache.
void time_rope_and_store(const KernelBench& bench, int64_t num_tokens, SectionMeter& section) {
  const ModelConfig& c = bench.options.config;
  const std::vector<float> tables = rope_tables(c, num_tokens);
  const float* cosines = tables.data();
  const float* sines = cosines + tables.size() / 2;
  std::vector<int32_t> positions;
  std::vector<int64_t> slots;
  for (int64_t t = 0; t < num_tokens; ++t) {
    positions.push_back(static_cast<int32_t>(t));
    slots.push_back(t);
  }
  const AlignedBuffer q = random_floats(num_tokens * c.num_attention_heads * c.qk_head_dim());
  const AlignedBuffer kv_a = random_floats(num_tokens * c.cache_dim());
  const AlignedBuffer norm = random_floats(c.kv_lora_rank);
  const int64_t rotated = num_tokens * c.num_attention_heads * c.qk_rope_head_dim;
  section.add(small_row("rope", bench.table.rope_query.name,
                        fmt::format("{} heads of {}", c.num_attention_heads, c.qk_rope_head_dim), num_tokens,
                        static_cast<double>(rotated) * 2 * sizeof(float)),
              [&](int thread, int64_t) {
                const IndexRange tokens = tokens_of(bench, num_tokens, thread);
                bench.table.rope_query({.q = q.floats(),
                                        .positions = positions.data(),
                                        .cos_table = cosines,
                                        .sin_table = sines,
                                        .num_heads = c.num_attention_heads,
                                        .nope_dim = c.qk_nope_head_dim,
                                        .rope_dim = c.qk_rope_head_dim,
                                        .begin = tokens.begin,
                                        .end = tokens.end});
              });
  for (DType dtype : kCacheTypes) {
    const int64_t row_bytes = kernels::latent_row_bytes(dtype, c.kv_lora_rank, c.qk_rope_head_dim);
    AlignedBuffer cache;
    cache.reserve(static_cast<size_t>(num_tokens * row_bytes));
    const double bytes =
        static_cast<double>(num_tokens * (row_bytes + c.cache_dim() * static_cast<int64_t>(sizeof(float))));
    section.add(
        small_row(dtype == DType::kInt8 ? "store, int8 cache" : "store, bf16 cache",
                  bench.table.store_latent.name, fmt::format("{} wide", c.cache_dim()), num_tokens, bytes),
        [&](int thread, int64_t) {
          const IndexRange tokens = tokens_of(bench, num_tokens, thread);
          bench.table.store_latent({.kv_a = kv_a.floats(),
                                    .norm_weight = norm.floats(),
                                    .positions = positions.data(),
                                    .slots = slots.data(),
                                    .cos_table = cosines,
                                    .sin_table = sines,
                                    .cache = {.data = cache.data(),
                                              .dtype = dtype,
                                              .rope_dtype = DType::kBFloat16,
                                              .latent_dim = c.kv_lora_rank,
                                              .rope_dim = c.qk_rope_head_dim,
                                              .block_size = num_tokens},
                                    .eps = 1e-6f,
                                    .begin = tokens.begin,
                                    .end = tokens.end});
        });
  }
}

void time_merge(const KernelBench& bench, int64_t num_tokens, SectionMeter& section) {
  const ModelConfig& c = bench.options.config;
  const int64_t heads = c.num_attention_heads;
  const int64_t split = heads * c.kv_lora_rank;
  const AlignedBuffer out = random_floats(num_tokens * kSplits * split);
  const AlignedBuffer max = random_floats(num_tokens * kSplits * heads);
  const std::vector<float> sum(static_cast<size_t>(num_tokens * kSplits * heads), 1.0f);
  AlignedBuffer y;
  y.reserve(static_cast<size_t>(num_tokens * split) * sizeof(float));
  const double bytes = static_cast<double>(num_tokens * split * (kSplits + 1)) * sizeof(float);
  section.add(small_row("merge splits", bench.table.merge_splits.name,
                        fmt::format("{} of {} x {}", kSplits, heads, c.kv_lora_rank), num_tokens, bytes),
              [&](int thread, int64_t) {
                const IndexRange items = static_share(num_tokens * heads, 1, thread, bench.team().size());
                for (int64_t item = items.begin; item < items.end;) {
                  const int64_t token = item / heads;
                  const int64_t end = std::min(items.end, (token + 1) * heads);
                  bench.table.merge_splits({.out = out.floats() + token * kSplits * split,
                                            .max = max.floats() + token * kSplits * heads,
                                            .sum = sum.data() + token * kSplits * heads,
                                            .y = y.floats() + token * split,
                                            .split_stride = split,
                                            .num_splits = kSplits,
                                            .num_heads = heads,
                                            .latent_dim = c.kv_lora_rank,
                                            .begin = item - token * heads,
                                            .end = end - token * heads});
                  item = end;
                }
              });
}

void time_router(const KernelBench& bench, int64_t num_tokens, SectionMeter& section) {
  const ModelConfig& c = bench.options.config;
  const bool grouped = c.topk_method == TopkMethod::kGroupLimitedGreedy;
  const int64_t n_group = grouped ? c.n_group : 1;
  const AlignedBuffer logits = random_floats(num_tokens * c.n_routed_experts);
  std::vector<int32_t> ids(static_cast<size_t>(num_tokens * c.num_experts_per_tok));
  std::vector<float> weights(ids.size());
  const int64_t scratch_floats = round_up(c.n_routed_experts + n_group, 16);
  AlignedBuffer scratch;
  scratch.reserve(static_cast<size_t>(scratch_floats * bench.team().size()) * sizeof(float));
  const double bytes =
      static_cast<double>(num_tokens * (c.n_routed_experts + 2 * c.num_experts_per_tok)) * sizeof(float);
  section.add(
      small_row("router's choice", bench.table.router.name,
                fmt::format("{} of {}", c.num_experts_per_tok, c.n_routed_experts), num_tokens, bytes),
      [&](int thread, int64_t) {
        const IndexRange tokens = tokens_of(bench, num_tokens, thread);
        bench.table.router({.logits = logits.floats(),
                            .expert_ids = ids.data(),
                            .expert_weights = weights.data(),
                            .scratch = scratch.floats() + thread * scratch_floats,
                            .num_experts = c.n_routed_experts,
                            .experts_per_token = c.num_experts_per_tok,
                            .n_group = n_group,
                            .topk_group = grouped ? c.topk_group : 1,
                            .scaling = static_cast<float>(c.routed_scaling_factor),
                            .begin = tokens.begin,
                            .end = tokens.end});
      });
}

}  // namespace

Result<std::vector<KernelSection>> bench_small(const KernelBench& bench) {
  constexpr size_t kRowsPerCount = std::size(kPrepareForms) + std::size(kCacheTypes) + 3;
  SectionMeter section(bench, {.group = KernelGroup::kSmall,
                               .name = "activations",
                               .kinds = {},
                               .num_rows = kRowsPerCount * bench.options.tokens.size()});
  for (int64_t num_tokens : bench.options.tokens) {
    time_prepare(bench, num_tokens, section);
    time_rope_and_store(bench, num_tokens, section);
    if (num_tokens <= kMaxMergeTokens) time_merge(bench, num_tokens, section);
    if (bench.options.config.n_routed_experts > 0) time_router(bench, num_tokens, section);
  }
  std::vector<KernelSection> sections;
  sections.push_back(section.finish());
  return sections;
}

}  // namespace fathom
