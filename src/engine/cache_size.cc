#include "engine/cache_size.h"

#include <algorithm>

#include "base/checked_math.h"
#include "engine/drafter.h"
#include "model/memory_plan.h"

namespace fathom {
namespace {

constexpr int64_t kMaxPages = int64_t{1} << 24;

Status check_options(const EngineOptions& options, const ModelConfig& config, uint64_t page_bytes) {
  if (options.max_model_len && *options.max_model_len > config.max_position_embeddings) {
    return invalid_argument("--max-model-len: {} is over the model's max_position_embeddings {}",
                            *options.max_model_len, config.max_position_embeddings);
  }
  if (options.kv_memory_bytes && *options.kv_memory_bytes < page_bytes) {
    return invalid_argument("--kv-memory: {} bytes are less than one page of {} tokens, {} bytes",
                            *options.kv_memory_bytes, options.block_size, page_bytes);
  }
  return ok_status();
}

// Of one of the two models, for sequences of max_model_len tokens.
MemoryPlan plan_of(const EngineOptions& options, int64_t max_model_len, DType kv_cache_dtype,
                   const ModelConfig& config, const Sharding& sharding, const Checkpoint& checkpoint) {
  return plan_memory(
      config,
      {.device = options.device,
       .sharding = sharding,
       .max_model_len = max_model_len,
       .max_num_seqs = options.max_num_seqs,
       .max_num_drafts =
           options.speculation == Speculation::kOff ? 0 : Drafter::max_step_drafts(options.max_num_seqs),
       .max_num_batched_tokens = options.max_num_batched_tokens,
       .block_size = options.block_size,
       .kv_cache_dtype = kv_cache_dtype},
      weight_groups(config, sharding, checkpoint));
}

void add(const MemoryPlan& draft, MemoryPlan& plan) {
  plan.rank_weight_bytes += draft.rank_weight_bytes;
  plan.workspace_bytes += draft.workspace_bytes;
  plan.cache_bytes_per_token += draft.cache_bytes_per_token;
}

}  // namespace

Result<CacheSize> choose_cache_size(const EngineOptions& options, const CacheUser& user,
                                    const MemoryInfo& memory) {
  const ModelConfig& config = user.config;
  CacheSize size;
  size.max_model_len = options.max_model_len.value_or(config.max_position_embeddings);
  MemoryPlan plan =
      plan_of(options, size.max_model_len, user.kv_cache_dtype, config, user.sharding, user.checkpoint);
  if (user.draft != nullptr) {
    const ModelConfig& draft = user.draft->config;
    const DType dtype = options.kv_cache_dtype.value_or(options.dtype.value_or(draft.torch_dtype));
    add(plan_of(options, size.max_model_len, dtype, draft, Sharding(), *user.draft->checkpoint), plan);
  }
  const uint64_t page_bytes = plan.cache_bytes_per_token * static_cast<uint64_t>(options.block_size);
  FATHOM_RETURN_IF_ERROR(check_options(options, config, page_bytes));
  const int64_t pages_per_sequence = ceil_div(size.max_model_len, options.block_size);
  const int64_t num_sequences = ceil_div(options.max_num_seqs, user.sharding.num_homes());
  size.num_pages = std::min(kMaxPages, num_sequences * pages_per_sequence);
  const uint64_t without_cache = plan.rank_weight_bytes + plan.workspace_bytes;
  if (options.kv_memory_bytes) {
    size.num_pages =
        static_cast<int64_t>(std::min<uint64_t>(*options.kv_memory_bytes / page_bytes, kMaxPages));
    if (options.max_model_len && size.num_pages < pages_per_sequence) {
      return invalid_argument("--kv-memory: {} bytes hold {} tokens, --max-model-len asks for {}",
                              *options.kv_memory_bytes, size.num_pages * options.block_size,
                              *options.max_model_len);
    }
  } else if (const auto available = memory.available(); available && *available > without_cache) {
    const auto affordable = static_cast<int64_t>((*available - without_cache) / 2 / page_bytes);
    size.num_pages = std::clamp<int64_t>(affordable, 1, size.num_pages);
    // What was asked for explicitly must fit; the plan's refusal below says so.
    if (options.max_model_len) size.num_pages = std::max(size.num_pages, pages_per_sequence);
  }
  plan.cache_bytes = static_cast<uint64_t>(size.num_pages) * page_bytes;
  plan.rank_total_bytes = without_cache + plan.cache_bytes;
  FATHOM_RETURN_IF_ERROR(check_memory(plan, memory));
  size.max_model_len = std::min(size.max_model_len, size.num_pages * options.block_size);
  return size;
}

}  // namespace fathom
