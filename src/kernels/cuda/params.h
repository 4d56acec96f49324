// Arguments of CUDA kernels beyond kernels/params.h: a device takes a whole batch in one launch, where a
// CPU's threads take ranges. All pointers are the device's; the begin and end of tokens and heads in the
// shared structs are not read, a launch covers the first num_tokens.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::cuda {

// kernels::PrepareParams for tokens [0, end), with one more destination. float16: the values times the
// inverse of a power of two, chosen by row so that all are finite; the power itself goes to scales, and is 1
// for rows below 32768. int8_zero_point is 0.
struct PrepareBatchParams {
  PrepareParams rows = {};
  PreparedRows float16 = {};
};

// One expert's weights; null panels: the expert is not here, nothing is computed for it.
struct LinearGroup {
  const void* panels = nullptr;
  const float* weight_scales = nullptr;
};

// Tokens [first, first + count) of a launch and the group whose weight they take; count 0: none.
struct LinearTile {
  int32_t group = 0;
  int32_t first = 0;
  int32_t count = 0;
};

// kernels::LinearParams for one weight, or for groups of tokens with a weight each. linear.x is 16-byte
// aligned. Grouped, linear.panels and linear.weight_scales are not read; which tokens are a group's is listed
// in tiles, or, without them, token t of the launch is group t % num_groups's and num_tokens a multiple of
// num_groups.
struct LinearBatchParams {
  LinearParams linear = {};
  bool float16_inputs = false;          // x is fp16 with x_scales (PrepareBatchParams); form is not read
  bool bfloat16_scales = false;         // bf16 x has x_scales too
  DType y_dtype = DType::kFloat32;      // of y; 16 bits wide with kStore only, fp16 saturates
  const int32_t* x_rows = nullptr;      // [num_tokens] row of x that a token reads; null: its own
  const LinearGroup* groups = nullptr;  // [num_groups]; null: not grouped
  int64_t num_groups = 1;
  const LinearTile* tiles = nullptr;  // [num_tiles], no token in two of them; or null
  int64_t num_tiles = 0;
  int64_t tile_tokens = 0;  // of any tile, at most
};

// One split of one row's absorbed attention.
struct SplitItem {
  int32_t row = 0;               // of q
  int32_t page_table_start = 0;  // in page_tables
  int32_t key_begin = 0;
  int32_t key_end = 0;
};

// kernels::AbsorbedAttentionParams for many splits.
struct AbsorbedBatchParams {
  const float* q = nullptr;  // [rows, H, R + r]
  const int32_t* page_tables = nullptr;
  const SplitItem* items = nullptr;  // [num_items]
  float* out = nullptr;              // [num_items, H, R]
  float* max = nullptr;              // [num_items, H]
  float* sum = nullptr;              // [num_items, H]
  LatentCacheView cache = {};
  int64_t num_items = 0;
  int64_t num_heads = 0;
  float scale = 0;
  AttentionPrecision precision = AttentionPrecision::kFloat32;
};

// kernels::MergeSplitsParams for many rows, whose items are [first_splits[i], first_splits[i + 1]).
struct MergeBatchParams {
  const float* out = nullptr;  // as in AbsorbedBatchParams
  const float* max = nullptr;
  const float* sum = nullptr;
  const int32_t* first_splits = nullptr;  // [num_rows + 1]
  float* y = nullptr;                     // [num_rows, H, R]
  int64_t num_rows = 0;
  int64_t num_heads = 0;
  int64_t latent_dim = 0;
};

// Up to kKeyBlock keys of a sequence at consecutive positions, from a multiple of kKeyBlock on.
struct KeyTile {
  int32_t page_table_start = 0;  // in page_tables
  int32_t first_position = 0;
  int32_t num_keys = 0;
  int32_t first_row = 0;  // where they lie among the rows of a pass
};

// Rows of the cache as inputs of a linear and as rotated keys. dtype float32: the values; 16 bits wide: those
// of a cache of that dtype, or the integers of an int8 row, whose scale goes to scales (else 1).
struct GatherLatentsParams {
  LatentCacheView cache = {};
  const int32_t* page_tables = nullptr;
  const KeyTile* tiles = nullptr;  // [num_tiles]
  void* latents = nullptr;         // [rows, latent_stride] dtype, zeros from R on
  float* scales = nullptr;         // [rows]
  void* rope = nullptr;            // [rows, rope_stride] dtype, zeros from r on
  int64_t latent_stride = 0;       // elements
  int64_t rope_stride = 0;         // elements
  int64_t num_tiles = 0;
  DType dtype = DType::kFloat32;
};

// Rows of a batch that are at consecutive positions of one sequence; what a block of expanded attention
// takes.
struct QueryTile {
  int32_t first_row = 0;  // of q
  int32_t num_rows = 0;   // at most kQueryTile
  int32_t first_position = 0;
  int32_t first_key = 0;  // row of the sequence's position 0 among the rows of a pass
};
inline constexpr int64_t kQueryTile = 128;

// Parts of a row of expanded keys and values are padded to whole panels (packed.h).
static inline int64_t padded_part(int64_t width) { return round_up(width, kPanelRows); }
// Elements of one head's key and value.
static inline int64_t expanded_width(int64_t nope_dim, int64_t v_dim) {
  return padded_part(nope_dim) + padded_part(v_dim);
}

// kernels::ExpandedAttentionParams for many sequences and heads [first_head, first_head + num_heads), keys
// and values expanded already. dtype is that of keys, values and products; queries and weights are rounded to
// it.
struct ExpandedBatchParams {
  const float* q = nullptr;        // [rows, all_heads, n + r]
  const void* expanded = nullptr;  // [keys, num_heads, expanded_width]: k_nope, then v; padding is 0
  const void* rope = nullptr;      // [keys, padded_part(r)], padding is 0
  const QueryTile* tiles = nullptr;
  float* out = nullptr;  // [rows, all_heads, v]
  int64_t num_tiles = 0;
  int64_t first_head = 0;
  int64_t num_heads = 0;
  int64_t all_heads = 0;
  int64_t nope_dim = 0;
  int64_t rope_dim = 0;
  int64_t v_dim = 0;
  float scale = 0;
  DType dtype = DType::kFloat32;
};

// The router's pairs (token, slot) sorted by expert, tokens ascending, and cut into tiles of one expert's
// pairs: num_tiles is max_expert_tiles() (linear_plan.h), those that are left over become empty.
struct ExpertPlanParams {
  const int32_t* expert_ids = nullptr;  // [T, K]
  int32_t* tokens = nullptr;            // [T * K] the token of each pair in order
  int32_t* places = nullptr;            // [T, K] where a pair stands in the order
  LinearTile* tiles = nullptr;          // [num_tiles]
  int64_t num_tokens = 0;
  int64_t experts_per_token = 0;
  int64_t num_experts = 0;  // at most kMaxExperts
  int64_t num_tiles = 0;
  int64_t tile_tokens = 0;
};
inline constexpr int64_t kMaxExperts = 1024;

// y[t] += weights[t, k] * outputs[places[t, k]] for k = 0, 1, .., each product and sum rounded; pairs of
// experts that are not here (groups[id].panels null) are left out.
struct CombineParams {
  const float* outputs = nullptr;         // [T * K, width]
  const int32_t* expert_ids = nullptr;    // [T, K]
  const float* expert_weights = nullptr;  // [T, K]
  const int32_t* places = nullptr;        // [T, K]
  const LinearGroup* groups = nullptr;    // [E]
  float* y = nullptr;                     // [T, width]
  int64_t num_tokens = 0;
  int64_t experts_per_token = 0;
  int64_t width = 0;
};

// out [T, cols] = rows of a table by token id; zeros for tokens that the table does not have.
struct EmbedParams {
  const void* table = nullptr;  // [rows, cols]
  DType dtype = DType::kFloat32;
  const int32_t* token_ids = nullptr;  // [T]
  float* out = nullptr;
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t num_tokens = 0;
};

// Row i of to = row rows[i] of from, `width` floats each.
struct GatherParams {
  const float* from = nullptr;
  const int32_t* rows = nullptr;  // [num_rows]; null: i
  float* to = nullptr;
  int64_t from_stride = 0;
  int64_t to_stride = 0;
  int64_t num_rows = 0;
  int64_t width = 0;
};

// x[i] = 0 where y is null, else y[i] += x[i].
struct ElementsParams {
  float* x = nullptr;
  float* y = nullptr;
  int64_t count = 0;
};

}  // namespace fathom::kernels::cuda
