// How many bytes a step has to read and how many multiply-adds it has to do at the least: arithmetic on the
// weight table, nothing measured. What is not counted: embedding rows (one per token), activations, and the
// cache's writes.
//
// Formulas, with E experts, K chosen per token, H heads, c = kv_lora_rank, r = qk_rope_head_dim,
// p = qk_nope_head_dim, v = v_head_dim, L layers; a multiply-add is two operations:
//   distinct experts of a layer for B tokens, were routing uniform   E (1 - (1 - K/E)^B)
//   linears                           2 per parameter that a token meets; the head for sampled positions only
//   attention of a query with a key   2 H (p + r + v) L expanded, 2 H (2c + r) L absorbed
//   expanding a token cached before   2 c H (p + v) L, again in each later chunk of its prompt
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "benchmark/machine.h"
#include "checkpoint/model_config.h"
#include "model/memory_plan.h"

namespace fathom {

// Operations by what they multiply.
struct OperationCounts {
  double int8 = 0;       // int8 and int4 weights with int8 rows: W8A8, W4A8
  double int8_pair = 0;  // the same with rows of 16 bits: W8A16, W4A16, each by two int8 instructions
  double bfloat16 = 0;   // weights of 16 bits
  double float32 = 0;    // weights of 32 bits
  double attention = 0;  // queries with keys and values
  double expansion = 0;  // of latents cached by earlier chunks

  double total() const { return int8 + int8_pair + bfloat16 + float32 + attention + expansion; }
  // Adds n times other.
  void add(const OperationCounts& other, double n);
};

// One model, sorted by when a step reads or computes it. Bytes as stored, or
// packed where that is more (int4), scales included.
struct ModelTraffic {
  double common_bytes = 0;  // attention, norms, routers, dense and shared networks: every step
  double routed_bytes = 0;  // all routed experts of all layers
  double head_bytes = 0;    // the head, or the embedding it is tied to: steps that sample
  int64_t num_experts = 0;
  int64_t experts_per_token = 0;
  double cache_bytes_per_token = 0;

  OperationCounts token;  // linears of one token without the head
  OperationCounts head;   // of one sampled position
  double expanded_pair = 0;
  double absorbed_pair = 0;
  double expanded_token = 0;  // one token's latents of all layers

  // Weights that a step over num_tokens >= 0 tokens reads, without the head.
  double body_bytes(int64_t num_tokens) const;
};

// Of one rank; where ranks share out sequences, of one that has its even share of them. weights:
// weight_groups() of the same config and sharding, with their types.
ModelTraffic describe_traffic(const ModelConfig& config, std::span<const WeightGroup> weights,
                              DType kv_cache_dtype, const Sharding& sharding = {});

// The expected number of distinct experts that num_tokens tokens choose, each experts_per_token of
// num_experts; 0 without experts.
double expected_experts(int64_t num_experts, int64_t experts_per_token, int64_t num_tokens);

// A step that computes one generated token of each of num_sequences sequences, whose keys, their own
// included, are num_keys together.
struct StepBytes {
  double weights = 0;
  double cache = 0;

  double total() const { return weights + cache; }
};
StepBytes decode_bytes(const ModelTraffic& traffic, int64_t num_sequences, int64_t num_keys);

struct PrefillShape {
  int64_t num_sequences = 1;
  int64_t prompt_len = 1;
  int64_t chunk_tokens = 512;  // of a step
};

// All prompts, one after another in the fewest steps.
struct PrefillWork {
  int64_t num_chunks = 0;
  double weight_bytes = 0;  // touched weights once a chunk
  OperationCounts operations;
};
PrefillWork prefill_work(const ModelTraffic& traffic, const PrefillShape& shape);

// The least time that operations can take: W8A8 weights at the int8 rate, W8A16 ones at half of it, because
// the kernels multiply rows of 16 bits as two int8 digits (kernels::InputForm::kInt8Pair; with AMX that is
// the bfloat16 rate), float32 ones at the float32 rate, all else at the bfloat16 rate. nullopt where a rate
// that is needed is unknown.
std::optional<double> operation_seconds(const OperationCounts& operations, const TierRates& rates);

}  // namespace fathom
