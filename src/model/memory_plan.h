// What a model will need before any of it is loaded: weights by role and format, latent cache, working
// memory, for one rank. An estimate for refusing early and for showing; nothing is allocated by it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/device_kind.h"
#include "base/memory_info.h"
#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"
#include "checkpoint/quantization.h"
#include "model/sharding.h"
#include "model/weight_table.h"

namespace fathom {

struct MemoryPlanOptions {
  DeviceKind device = DeviceKind::kCpu;  // whose memory is planned
  Sharding sharding = {};
  int64_t max_model_len = 4096;
  int64_t max_num_seqs = 16;
  int64_t max_num_drafts = 0;  // of a step, whose logits are wanted beside the sequences' own
  int64_t max_num_batched_tokens = 512;
  int64_t block_size = 128;
  DType kv_cache_dtype =
      DType::kBFloat16;  // kInt8: int8 latent with a float32 scale a token, 16-bit rotated key
};

// All weights of one role in one format and type.
struct WeightGroup {
  WeightRole role = WeightRole::kEmbedTokens;
  DType dtype = DType::kBFloat16;  // as stored; kUint8: int4, two a byte
  QuantType type = QuantType::kFloat;
  int64_t num_tensors = 0;  // scales are not counted as tensors
  int64_t num_elements = 0;
  uint64_t bytes = 0;       // of the whole model; int8 and int4 with their scales
  uint64_t rank_bytes = 0;  // of the sharding's rank
};

struct MemoryPlan {
  std::vector<WeightGroup> weights;  // in the order of the roles
  uint64_t weight_bytes = 0;         // of the whole model
  uint64_t rank_weight_bytes = 0;    // as the rank holds them, packed
  uint64_t cache_bytes_per_token = 0;  // of all layers, on each rank that caches the token
  // Of one rank: max_num_seqs sequences of max_model_len, or its share of them, in whole pages.
  int64_t num_cache_tokens = 0;
  uint64_t cache_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint64_t rank_total_bytes = 0;
};

// Bytes that one token takes in the cache of all layers.
uint64_t cache_bytes_per_token(const ModelConfig& config, DType kv_cache_dtype);

// rank_bytes are those of the sharding's rank; rank 0 has most. Every weight stored as the config's
// torch_dtype, or as default_quant_type() says.
std::vector<WeightGroup> weight_groups(const ModelConfig& config, const Sharding& sharding);
// As the checkpoint stores them, with the types that its description says; without one, where only sizes
// matter, int8 counts as W8A8 and int4 as W4A8. Offsets are left out: nothing reads them after the check. Of
// a rank's part of a sharded folder: what the folder says of its source. Precondition: check_weights()
// passed.
std::vector<WeightGroup> weight_groups(const ModelConfig& config, const Sharding& sharding,
                                       const Checkpoint& checkpoint,
                                       const QuantDescription& description = {});

// As a sharded folder's source stores them. Refused: a role that no weight has.
Result<std::vector<WeightGroup>> weight_groups(const std::string& directory, const ShardedFolder& folder,
                                               int64_t rank);

// The linear layers of one part of the model (part_name()) in one type.
struct QuantizedPart {
  std::string_view part;
  QuantType type = QuantType::kFloat;
  int64_t num_tensors = 0;
};

// What is quantised how, in the order of the parts; every tensor that could be quantised counts in one of
// them. Groups with the types of a description.
std::vector<QuantizedPart> quantized_parts(std::span<const WeightGroup> groups);

// Precondition: options are positive and within the config parser's ranges; sizes beyond 2^63 are cut to it.
MemoryPlan plan_memory(const ModelConfig& config, const MemoryPlanOptions& options,
                       std::vector<WeightGroup> weights);

// Whether one rank fits into what is available; the error holds both sizes, what takes how much and what to
// lower.
Status check_memory(const MemoryPlan& plan, const MemoryInfo& memory);

}  // namespace fathom
