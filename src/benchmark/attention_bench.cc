// The kernels of attention by themselves. Numbers that say how the backend shares them out are those of
// device/cpu_attention.cc.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/checked_math.h"
#include "benchmark/kernel_groups.h"
#include "benchmark/random_memory.h"

namespace fathom {
namespace {

using kernels::AttentionPrecision;
using kernels::LatentCacheView;

constexpr int64_t kBlockSize = 128;
constexpr int64_t kHeadGroup = 16;
constexpr int64_t kTokenGroup = 512;
// Partial results of splits take no more; the backend computes in groups, too.
constexpr int64_t kSplitBytes = int64_t{64} << 20;
// Sequences that decode at once.
constexpr int64_t kSequences[] = {1, 16};
constexpr int64_t kExpandedTokens[] = {512, 2048};
// Heads of expanded attention that are timed, unless there are more threads: each is computed by itself.
constexpr int64_t kMaxHeads = 16;

struct CacheFormat {
  const char* name;
  DType dtype;
};
constexpr CacheFormat kCacheFormats[] = {{"bf16 cache", DType::kBFloat16}, {"int8 cache", DType::kInt8}};

AlignedBuffer scratch_of(int64_t bytes) {
  AlignedBuffer buffer;
  buffer.reserve(static_cast<size_t>(bytes));
  return buffer;
}

// Random rows of one layer's latent cache, in pages that follow each other.
class CachePool {
 public:
  CachePool() : arena_(1) {}

  Status reserve(const KernelBench& bench, DType dtype) {
    const ModelConfig& config = bench.options.config;
    view_ = {.dtype = dtype,
             .rope_dtype = dtype == DType::kInt8 ? DType::kBFloat16 : dtype,
             .latent_dim = config.kv_lora_rank,
             .rope_dim = config.qk_rope_head_dim,
             .block_size = kBlockSize};
    const int64_t page_bytes = row_bytes() * kBlockSize;
    pages_.resize(std::max<uint64_t>(bench.pool_bytes / static_cast<uint64_t>(page_bytes), 1));
    std::iota(pages_.begin(), pages_.end(), 0);
    FATHOM_ASSIGN_OR_RETURN(std::byte * data,
                            arena_.allocate(0, pages_.size() * static_cast<size_t>(page_bytes)));
    view_.data = data;
    const auto num_rows = static_cast<int64_t>(pages_.size()) * kBlockSize;
    bench.team().time([&](int thread) {
      const IndexRange rows = static_share(num_rows, kBlockSize, thread, bench.team().size());
      fill_latent_rows(view_, data + rows.begin * row_bytes(), rows);
    });
    bench.team().leave();
    return ok_status();
  }

  const LatentCacheView& view() const { return view_; }
  int64_t row_bytes() const {
    return kernels::latent_row_bytes(view_.dtype, view_.latent_dim, view_.rope_dim);
  }
  // Sequences of num_keys tokens that do not share a page; 0 where there is no room for one.
  int64_t num_sequences(int64_t num_keys) const {
    return static_cast<int64_t>(pages_.size()) / ceil_div(num_keys, kBlockSize);
  }
  // Of sequence `index`, counted around.
  const int32_t* page_table(int64_t index, int64_t num_keys) const {
    return pages_.data() + index % num_sequences(num_keys) * ceil_div(num_keys, kBlockSize);
  }
  Status check_room(int64_t num_keys) const {
    if (num_sequences(num_keys) > 0) return ok_status();
    return resource_exhausted("--contexts: {} cached tokens need {} bytes, there are {} to measure in",
                              num_keys, num_keys * row_bytes(),
                              static_cast<int64_t>(pages_.size()) * kBlockSize * row_bytes());
  }

 private:
  WeightArena arena_;
  LatentCacheView view_;
  std::vector<int32_t> pages_;
};

// What CpuBackend chooses.
AttentionPrecision precision_of(const KernelBench& bench) {
  const bool bf16 = bench.table.has_bf16_products && bench.options.config.torch_dtype == DType::kBFloat16;
  return bf16 ? AttentionPrecision::kBFloat16 : AttentionPrecision::kFloat32;
}

// One generated token of each of some sequences.
class AbsorbedCase {
 public:
  AbsorbedCase(const KernelBench& bench, const CachePool& pool, int64_t num_sequences, int64_t num_keys)
      : bench_(bench), pool_(pool), num_sequences_(num_sequences), num_keys_(num_keys) {
    const ModelConfig& config = bench.options.config;
    num_heads_ = config.num_attention_heads;
    width_ = config.cache_dim();
    splits_ = ceil_div(num_keys, kernels::kKeySplit);
    group_ =
        num_sequences * splits_ >= 2 * bench.team().size() ? num_heads_ : std::min(num_heads_, kHeadGroup);
    q_ = random_floats(num_sequences * num_heads_ * width_);
    const int64_t split_bytes = num_heads_ * config.kv_lora_rank * static_cast<int64_t>(sizeof(float));
    num_slots_ = std::clamp<int64_t>(kSplitBytes / split_bytes, 1, num_sequences * splits_);
    out_.reserve(static_cast<size_t>(num_slots_ * split_bytes));
    max_.resize(static_cast<size_t>(num_slots_ * num_heads_));
    sum_.resize(max_.size());
    for (int i = 0; i < bench.team().size(); ++i) {
      scratch_.push_back(
          scratch_of(kernels::absorbed_scratch_bytes(group_, config.kv_lora_rank, config.qk_rope_head_dim)));
    }
  }

  KernelRow row() const {
    const auto keys = static_cast<double>(num_sequences_ * num_keys_);
    const auto heads = static_cast<double>(num_heads_);
    const auto latent_dim = static_cast<double>(bench_.options.config.kv_lora_rank);
    KernelRow row{.name = "absorbed",
                  .kernel = bench_.table.absorbed_attention.name,
                  .shape = fmt::format("{} keys, {} heads", num_keys_, num_heads_),
                  .tokens = num_sequences_,
                  .bytes = keys * static_cast<double>(pool_.row_bytes())};
    row.rotated_bytes = static_cast<double>(pool_.num_sequences(num_keys_) * num_keys_ * pool_.row_bytes());
    row.operations.attention = 2 * heads * keys * (static_cast<double>(width_) + latent_dim);
    return row;
  }

  void run(int thread, int64_t call) {
    const int64_t latent_dim = pool_.view().latent_dim;
    const int64_t num_groups = ceil_div(num_heads_, group_);
    const IndexRange items =
        static_share(num_sequences_ * splits_ * num_groups, 1, thread, bench_.team().size());
    for (int64_t item = items.begin; item < items.end; ++item) {
      const int64_t split = item / num_groups;
      const int64_t first_head = item % num_groups * group_;
      const int64_t sequence = split / splits_;
      const int64_t key_begin = split % splits_ * kernels::kKeySplit;
      const int64_t first = split % num_slots_ * num_heads_ + first_head;
      bench_.table.absorbed_attention(
          {.q = q_.floats() + (sequence * num_heads_ + first_head) * width_,
           .page_table = pool_.page_table(call * num_sequences_ + sequence, num_keys_),
           .out = out_.floats() + first * latent_dim,
           .max = max_.data() + first,
           .sum = sum_.data() + first,
           .scratch = scratch_[static_cast<size_t>(thread)].data(),
           .cache = pool_.view(),
           .q_stride = width_,
           .num_heads = std::min(group_, num_heads_ - first_head),
           .key_begin = key_begin,
           .key_end = std::min(num_keys_, key_begin + kernels::kKeySplit),
           .scale = 1,
           .precision = precision_of(bench_)});
    }
  }

 private:
  const KernelBench& bench_;
  const CachePool& pool_;
  int64_t num_sequences_;
  int64_t num_keys_;
  int64_t num_heads_ = 0;
  int64_t width_ = 0;
  int64_t splits_ = 0;  // of a sequence
  int64_t group_ = 0;   // heads of a pass
  int64_t num_slots_ = 0;
  AlignedBuffer q_;
  AlignedBuffer out_;
  std::vector<float> max_;
  std::vector<float> sum_;
  std::vector<AlignedBuffer> scratch_;  // by thread
};

// New tokens of one sequence behind `position` cached ones.
class ExpandedCase {
 public:
  ExpandedCase(const KernelBench& bench, const CachePool& pool, int64_t num_tokens, int64_t position)
      : bench_(bench), pool_(pool), num_tokens_(num_tokens), position_(position) {
    const ModelConfig& c = bench.options.config;
    const int64_t num_threads = bench.team().size();
    num_heads_ = std::min(c.num_attention_heads, std::max(kMaxHeads, num_threads));
    const int64_t groups_wanted = ceil_div(2 * num_threads, num_heads_);
    const int64_t group = std::max(kTokenGroup, ceil_div(num_tokens, groups_wanted));
    for (int64_t head = 0; head < num_heads_; ++head) {
      for (int64_t begin = 0; begin < num_tokens; begin += group) {
        items_.push_back({head, {begin, std::min(num_tokens, begin + group)}});
      }
    }
    q_ = random_floats(num_tokens * num_heads_ * c.qk_head_dim());
    out_.reserve(static_cast<size_t>(num_tokens * num_heads_ * c.v_head_dim) * sizeof(float));
    key_bytes_ =
        kernels::num_panels(c.qk_nope_head_dim) * kernels::panel_bytes(c.kv_lora_rank, kv_b_format());
    value_bytes_ = kernels::num_panels(c.v_head_dim) * kernels::panel_bytes(c.kv_lora_rank, kv_b_format());
    panels_.reserve(static_cast<size_t>(num_heads_ * (key_bytes_ + value_bytes_)));
    fill_random(panels_.data(), num_heads_ * (key_bytes_ + value_bytes_), format());
    const int64_t scratch_bytes = kernels::expanded_scratch_bytes(
        std::min(group, num_tokens), c.kv_lora_rank, c.qk_rope_head_dim, c.qk_nope_head_dim, c.v_head_dim);
    for (int64_t i = 0; i < num_threads; ++i) scratch_.push_back(scratch_of(scratch_bytes));
  }

  // Keys are expanded once for each group of tokens, as the items ask for.
  KernelRow row() const {
    const ModelConfig& c = bench_.options.config;
    KernelRow row{.name = "expanded",
                  .kernel = bench_.table.expanded_attention.name,
                  .shape = fmt::format("at {}, {} heads", position_, num_heads_),
                  .tokens = num_tokens_,
                  .bytes = static_cast<double>(num_keys() * pool_.row_bytes())};
    row.rotated_bytes = row.bytes * static_cast<double>(pool_.num_sequences(num_keys()));
    for (const Item& item : items_) {
      const auto tokens = static_cast<double>(item.tokens.size());
      const auto before = static_cast<double>(position_ + item.tokens.begin);
      row.operations.attention +=
          2 * static_cast<double>(c.qk_head_dim() + c.v_head_dim) * tokens * (before + (tokens + 1) / 2);
      row.operations.expansion +=
          2 * static_cast<double>(c.kv_lora_rank * c.kv_head_dim()) * (before + tokens);
    }
    return row;
  }

  void run(int thread, int64_t call) {
    const auto item_of = [this](const Item& item) {
      const int64_t before = position_ + item.tokens.begin;
      return WorkItem{1, item.tokens.size() * (before + item.tokens.size() / 2 + 1)};
    };
    for_share_of_line(items_, item_of, thread, bench_.team().size(),
                      [&](size_t i, int64_t, int64_t) { attend(items_[i], thread, call); });
  }

 private:
  struct Item {
    int64_t head = 0;
    IndexRange tokens;
  };

  int64_t num_keys() const { return position_ + num_tokens_; }
  DType format() const { return bench_.options.config.torch_dtype; }
  kernels::PanelFormat kv_b_format() const { return kernels::panel_format(format()); }

  void attend(const Item& item, int thread, int64_t call) {
    const ModelConfig& c = bench_.options.config;
    const int64_t first = item.tokens.begin * num_heads_ + item.head;
    const std::byte* panels = panels_.data() + item.head * (key_bytes_ + value_bytes_);
    bench_.table.expanded_attention({.q = q_.floats() + first * c.qk_head_dim(),
                                     .key_panels = panels,
                                     .value_panels = panels + key_bytes_,
                                     .page_table = pool_.page_table(call, num_keys()),
                                     .out = out_.floats() + first * c.v_head_dim,
                                     .scratch = scratch_[static_cast<size_t>(thread)].data(),
                                     .cache = pool_.view(),
                                     .q_stride = num_heads_ * c.qk_head_dim(),
                                     .out_stride = num_heads_ * c.v_head_dim,
                                     .num_tokens = item.tokens.size(),
                                     .first_position = position_ + item.tokens.begin,
                                     .nope_dim = c.qk_nope_head_dim,
                                     .v_dim = c.v_head_dim,
                                     .scale = 1,
                                     .kv_b_format = kv_b_format(),
                                     .precision = precision_of(bench_)});
  }

  const KernelBench& bench_;
  const CachePool& pool_;
  int64_t num_tokens_;
  int64_t position_;
  int64_t num_heads_ = 0;
  int64_t key_bytes_ = 0;  // of a head's panels
  int64_t value_bytes_ = 0;
  std::vector<Item> items_;
  AlignedBuffer q_;
  AlignedBuffer out_;
  AlignedBuffer panels_;                // by head: keys, values
  std::vector<AlignedBuffer> scratch_;  // by thread
};

Result<KernelSection> bench_absorbed(const KernelBench& bench, const CachePool& pool, const char* name) {
  const std::vector<int64_t>& contexts = bench.options.contexts;
  SectionMeter section(bench, {.group = KernelGroup::kAttention,
                               .name = fmt::format("absorbed, {}", name),
                               .kinds = {.attention = 1},
                               .num_rows = contexts.size() * std::size(kSequences)});
  for (int64_t num_keys : contexts) {
    FATHOM_RETURN_IF_ERROR(pool.check_room(num_keys));
    for (int64_t num_sequences : kSequences) {
      AbsorbedCase absorbed(bench, pool, num_sequences, num_keys);
      section.add(absorbed.row(), [&](int thread, int64_t call) { absorbed.run(thread, call); });
    }
  }
  return section.finish();
}

// At the start of a prompt, and behind those contexts that are not short beside the new tokens.
Result<KernelSection> bench_expanded(const KernelBench& bench, const CachePool& pool, const char* name) {
  constexpr int64_t kShortContext = 1024;
  std::vector<int64_t> positions = {0};
  const std::vector<int64_t>& contexts = bench.options.contexts;
  std::copy_if(contexts.begin(), contexts.end(), std::back_inserter(positions),
               [](int64_t context) { return context > kShortContext; });
  SectionMeter section(bench, {.group = KernelGroup::kAttention,
                               .name = fmt::format("expanded, {}", name),
                               .kinds = {.attention = 1},
                               .num_rows = positions.size() * std::size(kExpandedTokens)});
  for (int64_t num_tokens : kExpandedTokens) {
    for (int64_t position : positions) {
      FATHOM_RETURN_IF_ERROR(pool.check_room(position + num_tokens));
      ExpandedCase expanded(bench, pool, num_tokens, position);
      section.add(expanded.row(), [&](int thread, int64_t call) { expanded.run(thread, call); });
    }
  }
  return section.finish();
}

}  // namespace

Result<std::vector<KernelSection>> bench_attention(const KernelBench& bench) {
  std::vector<KernelSection> sections;
  for (const CacheFormat& format : kCacheFormats) {
    CachePool pool;
    FATHOM_RETURN_IF_ERROR(pool.reserve(bench, format.dtype));
    FATHOM_ASSIGN_OR_RETURN(KernelSection absorbed, bench_absorbed(bench, pool, format.name));
    sections.push_back(std::move(absorbed));
    FATHOM_ASSIGN_OR_RETURN(KernelSection expanded, bench_expanded(bench, pool, format.name));
    sections.push_back(std::move(expanded));
  }
  return sections;
}

}  // namespace fathom
