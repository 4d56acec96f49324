// One form of attention against the other, each as a whole: folding, splits, merging and value products
// against expansion, through the backend as the engine calls it.
#include <algorithm>
#include <numeric>

#include "base/checked_math.h"
#include "base/clock.h"
#include "benchmark/kernel_groups.h"
#include "benchmark/random_memory.h"
#include "device/backend.h"
#include "engine/runner.h"
#include "model/rope.h"

namespace fathom {
namespace {

constexpr int64_t kFormsBlockSize = 128;
constexpr int64_t kNewTokens[] = {16, 32, 64, 96, 128, 171, 256, 512};
constexpr int64_t kMaxTokens = 512;
constexpr int64_t kContext = 4096;
// More would take seconds a call on few threads and change both forms alike.
constexpr int64_t kMostFormsHeads = 16;
constexpr int kMinCalls = 3;

// One layer's attention over one sequence.
class Attention {
 public:
  Attention(const KernelBench& bench, int64_t context)
      : config_(bench.options.config),
        context_(context),
        num_heads_(
            std::min(config_.num_attention_heads, std::max<int64_t>(kMostFormsHeads, bench.team().size()))),
        positions_(kMaxTokens),
        ids_(kMaxTokens, 0),
        slots_(kMaxTokens, 0),
        pages_(static_cast<size_t>(ceil_div(context + kMaxTokens, kFormsBlockSize))) {
    std::iota(positions_.begin(), positions_.end(), static_cast<int32_t>(context));
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  Status load(const KernelBench& bench) {
    FATHOM_ASSIGN_OR_RETURN(backend_,
                            make_cpu_backend({.num_threads = bench.team().size(), .isa = bench.options.isa}));
    const DType dtype = config_.torch_dtype;
    const Shape shape{num_heads_ * config_.kv_head_dim(), config_.kv_lora_rank};
    std::vector<std::byte> kv_b(
        static_cast<size_t>(round_up(shape.num_elements() * static_cast<int64_t>(dtype_bytes(dtype)), 8)));
    fill_random(kv_b.data(), static_cast<int64_t>(kv_b.size()), dtype);
    FATHOM_ASSIGN_OR_RETURN(kv_b_, backend_->load_kv_b({.data = kv_b.data(), .dtype = dtype, .shape = shape},
                                                       num_heads_, config_.qk_nope_head_dim));
    view_ = {.dtype = dtype,
             .rope_dtype = dtype,
             .latent_dim = config_.kv_lora_rank,
             .rope_dim = config_.qk_rope_head_dim,
             .block_size = kFormsBlockSize};
    const int64_t cache_bytes = static_cast<int64_t>(pages_.size()) * kFormsBlockSize *
                                kernels::latent_row_bytes(dtype, view_.latent_dim, view_.rope_dim);
    FATHOM_ASSIGN_OR_RETURN(cache_, backend_->allocate(static_cast<size_t>(cache_bytes)));
    view_.data = cache_.data();
    fill_random(static_cast<std::byte*>(cache_.data()), cache_bytes, dtype);
    q_ = random_floats(kMaxTokens * num_heads_ * config_.qk_head_dim());
    out_.reserve(static_cast<size_t>(kMaxTokens * num_heads_ * config_.v_head_dim) * sizeof(float));
    return ok_status();
  }

  int64_t num_heads() const { return num_heads_; }

  // Seconds for num_tokens new tokens in this form.
  Result<double> time(int64_t num_tokens, AttentionForm form) {
    const auto count = static_cast<size_t>(num_tokens);
    const int32_t starts[] = {0, static_cast<int32_t>(num_tokens)};
    const int32_t page_starts[] = {0, static_cast<int32_t>(pages_.size())};
    FATHOM_RETURN_IF_ERROR(backend_->begin_step({.token_ids = {ids_.data(), count},
                                                 .positions = {positions_.data(), count},
                                                 .slots = {slots_.data(), count},
                                                 .starts = starts,
                                                 .forms = {&form, 1},
                                                 .page_tables = pages_,
                                                 .page_table_starts = page_starts,
                                                 .logits_rows = {}}));
    const double begin = monotonic_seconds();
    backend_->attend({.q = q_.floats(),
                      .kv_b = &kv_b_,
                      .out = out_.floats(),
                      .cache = view_,
                      .num_heads = num_heads_,
                      .nope_dim = config_.qk_nope_head_dim,
                      .v_dim = config_.v_head_dim,
                      .scale = attention_scale(config_),
                      .rounding = activation_rounding(config_)});
    return monotonic_seconds() - begin;
  }

 private:
  const ModelConfig& config_;
  int64_t context_;
  int64_t num_heads_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> ids_;
  std::vector<int64_t> slots_;
  std::vector<int32_t> pages_;
  std::unique_ptr<Backend> backend_;
  KvBWeights kv_b_;
  DeviceBuffer cache_;
  LatentCacheView view_;
  AlignedBuffer q_;
  AlignedBuffer out_;
};

// Both forms in turn, so that a change of the machine's speed meets both.
Result<AttentionForms::Row> time_forms(Attention& attention, int64_t num_tokens, double seconds) {
  std::vector<double> absorbed, expanded;
  const double end = monotonic_seconds() + 2 * seconds;
  bool warm = false;
  while (absorbed.size() < kMinCalls || monotonic_seconds() < end) {
    FATHOM_ASSIGN_OR_RETURN(const double first, attention.time(num_tokens, AttentionForm::kAbsorbed));
    FATHOM_ASSIGN_OR_RETURN(const double second, attention.time(num_tokens, AttentionForm::kExpanded));
    if (warm || first + second > seconds) {
      absorbed.push_back(first);
      expanded.push_back(second);
    }
    warm = true;
  }
  const auto num_calls = static_cast<int64_t>(absorbed.size());
  return AttentionForms::Row{.tokens = num_tokens,
                             .absorbed = call_time(std::move(absorbed), num_calls),
                             .expanded = call_time(std::move(expanded), num_calls)};
}

}  // namespace

std::optional<double> crossover_of(std::span<const AttentionForms::Row> rows) {
  // Above 0 where the expanded form is faster.
  const auto gain = [](const AttentionForms::Row& row) { return row.absorbed.best / row.expanded.best - 1; };
  for (size_t i = rows.size(); i-- > 1;) {
    const double below = gain(rows[i - 1]), above = gain(rows[i]);
    if (!(below <= 0 && above > 0)) continue;
    const auto step = static_cast<double>(rows[i].tokens - rows[i - 1].tokens);
    return static_cast<double>(rows[i - 1].tokens) + step * -below / (above - below);
  }
  return std::nullopt;
}

Result<AttentionForms> bench_attention_forms(const KernelBench& bench) {
  const std::vector<int64_t>& contexts = bench.options.contexts;
  AttentionForms forms;
  forms.context = std::min(kContext, *std::max_element(contexts.begin(), contexts.end()));
  forms.engine_crossover = kExpandedPromptTokens;
  Attention attention(bench, forms.context);
  FATHOM_RETURN_IF_ERROR(attention.load(bench));
  forms.num_heads = attention.num_heads();
  for (int64_t num_tokens : kNewTokens) {
    FATHOM_ASSIGN_OR_RETURN(const AttentionForms::Row row,
                            time_forms(attention, num_tokens, bench.options.seconds));
    forms.rows.push_back(row);
    if (bench.progress != nullptr)
      bench.progress->report("absorbed against expanded", forms.rows.size(), std::size(kNewTokens));
  }
  forms.crossover = crossover_of(forms.rows);
  return forms;
}

}  // namespace fathom
