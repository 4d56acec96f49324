// How tensor-parallel ranks share the model. The heads and the widths of networks are cut into slices, of
// which every rank owns as many, one after another; a product over a cut width is a sum of the slices'
// products. What a slice is depends on their number alone, never on the ranks: two groups with the same
// slices compute the same bits (docs/numerics.md).
//
// Or attention is not cut: every rank has all heads, and computes and caches some sequences only, those whose
// home it is (data-parallel attention).
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/status.h"
#include "base/thread_team.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"
#include "model/weight_table.h"

namespace fathom {

// What of attention a rank computes.
enum class AttentionShare : uint8_t {
  kHeads,            // its slices' heads, of all sequences
  kSequences,        // its sequences, in one piece
  kSlicedSequences,  // its sequences, with the bits of kHeads: o_proj's sums are taken slice by slice
};

struct Sharding {
  int64_t num_ranks = 1;
  int64_t rank = 0;
  int64_t num_slices = 1;  // num_ranks times a power of two
  // Groups of routed experts; the slices of a group share each of its experts. 1: every slice has a part of
  // every expert; num_slices: whole experts.
  int64_t num_expert_groups = 1;
  // Widths of networks are cut at multiples of this (width_unit_of()).
  int64_t width_unit = 1;
  AttentionShare attention = AttentionShare::kHeads;

  bool is_sliced() const { return num_slices > 1; }
  int64_t slices_per_rank() const { return num_slices / num_ranks; }
  IndexRange slices() const { return {rank * slices_per_rank(), (rank + 1) * slices_per_rank()}; }

  bool shares_sequences() const { return attention != AttentionShare::kHeads; }
  // Caches that have sequences of their own: ranks, or one that every rank has a copy of.
  int64_t num_homes() const { return shares_sequences() ? num_ranks : 1; }
  // The slices that heads are cut into, and which of them this rank computes.
  int64_t num_head_slices() const { return attention == AttentionShare::kSequences ? 1 : num_slices; }
  IndexRange head_slices() const { return shares_sequences() ? IndexRange{0, num_head_slices()} : slices(); }
  // Slices whose products a rank keeps apart at once.
  int64_t num_partial_sums() const {
    const int64_t most = std::max(slices_per_rank(), head_slices().size());
    return is_sliced() ? most : 0;
  }
  int64_t rank_heads(const ModelConfig& config) const {
    return config.num_attention_heads / num_head_slices() * head_slices().size();
  }
};

// Refuses numbers that do not fit each other or the model, by the names of the options (--tp, --slices,
// --moe-ep).
Status check_sharding(const ModelConfig& config, const Sharding& sharding);

// 32 where a network of the checkpoint is int4, whose inputs share factors in groups that begin at multiples
// of 32; else 1. Of a rank's part of a sharded folder: what its source has.
int64_t width_unit_of(const Checkpoint& checkpoint, const ModelConfig& config);
// Refuses, naming the tensor, an int4 o_proj whose slices do not begin at multiples of 32 inputs.
Status check_sliced_groups(const Checkpoint& checkpoint, const ModelConfig& config, const Sharding& sharding);

// Rows and columns of a matrix; of a vector rows.
struct TensorSlice {
  IndexRange rows;
  IndexRange cols;  // [0, 1) of a vector

  int64_t num_elements() const { return rows.size() * cols.size(); }
};

TensorSlice whole_of(const WeightSpec& spec);

// What the slices have of a weight: several at once where it is cut by heads or by tokens of the vocabulary,
// a single one where it is cut by width. May be empty, of a width that has fewer units than there are slices.
// Of heads the slices are those of num_head_slices().
TensorSlice slice_of(const WeightSpec& spec, const ModelConfig& config, const Sharding& sharding,
                     IndexRange slices);
// The slices of a weight that a rank has.
IndexRange rank_slices(const WeightSpec& spec, const Sharding& sharding);
// All that a rank has of a weight. Rank 0 has most.
int64_t rank_elements(const WeightSpec& spec, const ModelConfig& config, const Sharding& sharding);

// Part `index` of `count` of `size`, cut at multiples of unit; the first parts are the larger ones.
IndexRange even_part(int64_t size, int64_t unit, int64_t index, int64_t count);

}  // namespace fathom
