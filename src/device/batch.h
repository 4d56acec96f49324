// One step's work as a flat batch: the one shape for prompts, chunks, generated tokens and recomputation.
// Plain host arrays, made by the runner; a device copies them once a step.
#pragma once

#include <cstdint>
#include <span>

namespace fathom {

// How a segment's attention is computed. Equal in exact arithmetic, not bit for bit, so the choice is part of
// a token's identity: the tokens of long prompts expanded, those of short prompts and generated ones
// absorbed, whatever the batch or the chunks.
enum class AttentionForm : uint8_t { kExpanded, kAbsorbed };

// T tokens of B segments; segment b is rows [starts[b], starts[b + 1]) at consecutive positions of one
// sequence whose earlier tokens are in the cache already.
struct Batch {
  std::span<const int32_t> token_ids;          // [T]
  std::span<const int32_t> positions;          // [T]
  std::span<const int64_t> slots;              // [T] cache row of each token: page * block_size + offset
  std::span<const int32_t> starts;             // [B + 1]
  std::span<const AttentionForm> forms;        // [B]
  std::span<const int32_t> page_tables;        // all segments' page ids, one after another
  std::span<const int32_t> page_table_starts;  // [B + 1] into page_tables
  std::span<const int32_t> logits_rows;        // rows of [0, T) whose logits are wanted, in any order
  // Where attention is shared out by sequences (model/sharding.h): segments [home_starts[h], home_starts[h +
  // 1]) are of home h, whose cache their slots and pages are of; [homes + 1]. Else empty.
  std::span<const int32_t> home_starts = {};

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t num_segments() const { return static_cast<int64_t>(forms.size()); }
};

}  // namespace fathom
