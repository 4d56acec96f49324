// How large the latent cache becomes and how long sequences may be: decided before anything is loaded, from
// the options, the memory plan and what the machine has.
#pragma once

#include "base/memory_info.h"
#include "checkpoint/checkpoint.h"
#include "engine/draft_checkpoint.h"
#include "engine/engine.h"
#include "model/sharding.h"

namespace fathom {

struct CacheSize {
  int64_t num_pages = 0;
  int64_t max_model_len = 0;
};

// What is to be loaded. check_weights() has passed.
struct CacheUser {
  const ModelConfig& config;
  const Sharding& sharding;
  DType kv_cache_dtype = DType::kBFloat16;
  const Checkpoint& checkpoint;
  const DraftCheckpoint* draft = nullptr;  // or none
};

// Without --kv-memory the cache holds max_num_seqs sequences of max_model_len tokens (of several caches that
// share the sequences, each its part of them), but takes at most half of the memory that weights and
// workspace leave. Without --max-model-len that is the model's max_position_embeddings, or what the cache
// holds. Errors name the option, or what takes how much memory. A draft model has its own cache in as many
// pages, which counts in all of this. Of several ranks: what this one can have.
Result<CacheSize> choose_cache_size(const EngineOptions& options, const CacheUser& user,
                                    const MemoryInfo& memory);

}  // namespace fathom
