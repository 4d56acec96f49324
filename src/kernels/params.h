// The arguments of every kernel: pointers and sizes, nothing else. Plain data header.
//
// Symbols: T tokens in the batch, D hidden_size, H heads, R kv_lora_rank, E routed experts, K experts per
// token, n = qk_nope_head_dim, r = qk_rope_head_dim, v = v_head_dim.
//
// Activations between operations are float32. What a linear reads is prepared from them once (PrepareParams):
// rounded to the activation dtype and written in the form its weights want. Strides are in elements unless
// they say bytes. Ranges are [begin, end): the caller splits the work, a kernel has no threads.
// Determinism: every output element is computed in an order that depends on its own position and on the
// model's sizes only, never on T, on the range or on other rows.
#pragma once

#include <stdint.h>

#include "kernels/packed.h"
#include "tensor/dtype.h"

namespace fathom::kernels {

// How a float32 value is rounded before it is multiplied by weights. kFloat16 keeps float16's 11
// significant bits but float32's range, so that large activations stay finite.
enum class ActivationRounding : uint8_t { kNone, kBFloat16, kFloat16 };

// What a linear's inputs look like in memory.
//   kFloat32   float32
//   kBFloat16  bf16
//   kInt8      one byte a value, q + zero_point with q = round(x / scale), scale = max|x| / 127 of its row
//   kInt8Pair  two rows of such bytes a token, the high digits, then the low ones: x = scale (254 high +
//   low),
//              scale = max|x| / 32384, both digits in [-127, 127]. Close to 16 bits, and every product with
//              int8 weights is two exact int32 sums.
// An int8 row's scale is NaN where the row holds a value that is not finite.
enum class InputForm : uint8_t { kFloat32, kBFloat16, kInt8, kInt8Pair };

inline constexpr float kInt8Limit = 127.0f;
inline constexpr float kDigitBase = 254.0f;
// One less than 254 * 127 + 127: that would be halfway to the next high digit.
inline constexpr float kInt8PairLimit = 127 * kDigitBase + 126;

static inline int64_t rows_per_token(InputForm form) { return form == InputForm::kInt8Pair ? 2 : 1; }
static inline int64_t input_bytes(InputForm form) {
  return form == InputForm::kFloat32 ? 4 : form == InputForm::kBFloat16 ? 2 : 1;
}

// One destination of prepared rows; null data: not wanted. Rows are padded with the form's zero to `padded`
// elements, which is also the stride.
struct PreparedRows {
  void* data = nullptr;     // [T * rows_per_token, padded]
  float* scales = nullptr;  // [T] of the int8 forms
  int64_t padded = 0;
};

// Rows of activations for linears: optional RMS norm, x * rsqrt(mean(x^2) + eps) * norm_weight, rounding to
// the activation dtype, and one pass into each form that is wanted.
struct PrepareParams {
  const float* x = nullptr;            // [T, width], stride x_stride
  const float* norm_weight = nullptr;  // [width]; null: no norm
  int64_t width = 0;
  int64_t x_stride = 0;
  float eps = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
  uint8_t int8_zero_point = 0;  // KernelTable::int8_zero_point
  PreparedRows float32 = {};
  PreparedRows bfloat16 = {};
  PreparedRows int8 = {};
  PreparedRows int8_pair = {};
  int64_t begin = 0;  // range of tokens
  int64_t end = 0;
};

// y = x w^T for T tokens and panels [begin, end) of a packed matrix.
//
// The value v[t, j] of output j is
//   float forms   sum over k of x[t, k] w[j, k], accumulated in float32
//   kInt8         (float(s) * weight_scales[j]) * x_scales[t], s the exact int32 sum of q w
//   kInt8Pair     (fma(float(high), 254, float(low)) * weight_scales[j]) * x_scales[t]
// + bias[j], each step rounded to float32. For the int8 forms every kernel gives the same bits, and int4
// weights those of int8 weights factor * q.
struct LinearParams {
  // kStore       y[t, j] = v
  // kAdd         y[t, j] += v
  // kAddWeighted y[t, j] += y_weights[t] * v, product rounded first
  // kSiluMul     panel pairs: h = round(silu(gate) * up), y[t, j] = h for pair j / 16
  enum class Output : uint8_t { kStore, kAdd, kAddWeighted, kSiluMul };

  const void* x = nullptr;  // [T * rows_per_token(form), x_stride]
  const float* x_scales = nullptr;
  InputForm form = InputForm::kFloat32;
  uint8_t int8_zero_point = 0;
  // Elements; at least padded_inputs(num_inputs, format), of int4 weights padded_inputs(num_inputs, kInt8);
  // zeros (zero points) at the end.
  int64_t x_stride = 0;

  const void* panels = nullptr;          // of panel 0
  const float* weight_scales = nullptr;  // [panels * 16]; int8 and int4 weights
  const int32_t* weight_sums = nullptr;  // likewise
  const float* bias = nullptr;           // [num_outputs] or null; not with kSiluMul
  void* scratch = nullptr;               // int4_scratch_bytes(), 64-byte aligned; int4 weights
  PanelFormat format = PanelFormat::kFloat32;

  float* y = nullptr;
  int64_t y_stride = 0;
  const int32_t* y_rows = nullptr;                          // [T] row of y that token t writes; null: t
  const float* y_weights = nullptr;                         // [T]; kAddWeighted
  ActivationRounding rounding = ActivationRounding::kNone;  // kSiluMul
  Output output = Output::kStore;

  int64_t num_tokens = 0;
  int64_t num_inputs = 0;
  int64_t num_outputs = 0;  // of y: columns beyond are not written; with kSiluMul the network's width
  int64_t begin = 0;        // range of panels; with kSiluMul even
  int64_t end = 0;
};

// Panels that a linear of int4 weights may expand to int8 at a time.
inline constexpr int64_t kExpandedPanels = 4;

// Scratch of a linear of int4 weights: panels expanded to int8, or, no larger, the inputs of few rows.
static inline int64_t int4_scratch_bytes(int64_t num_inputs) {
  return kExpandedPanels * panel_bytes(num_inputs, PanelFormat::kInt8);
}

// Rotates the last r of each head's n + r query elements in place: interleaved pairs (2j, 2j+1).
struct RopeQueryParams {
  float* q = nullptr;                  // [T, H, n + r]
  const int32_t* positions = nullptr;  // [T]
  const float* cos_table = nullptr;    // [positions, r / 2]
  const float* sin_table = nullptr;    // [positions, r / 2]
  int64_t num_heads = 0;
  int64_t nope_dim = 0;
  int64_t rope_dim = 0;
  int64_t begin = 0;  // range of tokens
  int64_t end = 0;
};

// The latent cache of one layer: page p, offset o is row p * block_size + o. A row holds the normalised
// latent, then the rotated key: R + r elements of dtype; with kInt8, R bytes q = round(c / scale), scale =
// max|c| / 127, then r elements of rope_dtype, then the scale as float32.
struct LatentCacheView {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  DType rope_dtype = DType::kFloat32;  // dtype itself, or 16 bits wide where dtype is kInt8
  int64_t latent_dim = 0;              // R
  int64_t rope_dim = 0;                // r
  int64_t block_size = 0;              // tokens per page
};

static inline int64_t latent_row_bytes(DType dtype, int64_t latent_dim, int64_t rope_dim) {
  if (dtype == DType::kInt8) return latent_dim + 2 * rope_dim + 4;
  return (latent_dim + rope_dim) * (dtype == DType::kFloat32 ? 4 : 2);
}

// From kv_a = [c | k_rope] of each token: normalises c, rotates k_rope, rounds to the cache's dtype (float16
// saturates at its largest finite value) and writes the row at the token's slot.
struct StoreLatentParams {
  const float* kv_a = nullptr;         // [T, R + r]
  const float* norm_weight = nullptr;  // [R]
  const int32_t* positions = nullptr;  // [T]
  const int64_t* slots = nullptr;      // [T]
  const float* cos_table = nullptr;
  const float* sin_table = nullptr;
  LatentCacheView cache = {};
  float eps = 0;
  int64_t begin = 0;  // range of tokens
  int64_t end = 0;
};

// The precision of attention's products. kBFloat16: queries, expanded keys and values and probabilities are
// rounded to bf16 before they are multiplied (sums stay float32); the cache must be bf16 or int8. kFloat16
// (CUDA only): the same to float16's 11 bits, as ActivationRounding::kFloat16; the cache is float16, or int8
// with float16 keys, beside which probabilities of the absorbed form are rounded to bf16. kFloat32: nothing
// is rounded.
enum class AttentionPrecision : uint8_t { kFloat32, kBFloat16, kFloat16 };

// Keys that one step of the online softmax takes together, by absolute position, and keys of one split of a
// sequence's absorbed attention. Part of the result's definition: changing them changes bits.
inline constexpr int64_t kKeyBlock = 64;
inline constexpr int64_t kKeySplit = 256;

// Absorbed attention of one token over keys [key_begin, key_end), part of one split, for all the heads given:
// score(h, s) = scale * (q[h] . row_s), row_s = [c_s | k_s]; blocks of kKeyBlock with a running maximum. The
// result is partial: out[h] = sum over s of e^(score - max[h]) c_s, sum[h] = sum of e^(score - max[h]).
struct AbsorbedAttentionParams {
  const float* q = nullptr;  // [num_heads, R + r], stride q_stride
  const int32_t* page_table = nullptr;
  float* out = nullptr;     // [num_heads, R]
  float* max = nullptr;     // [num_heads]
  float* sum = nullptr;     // [num_heads]
  void* scratch = nullptr;  // absorbed_scratch_bytes(), 64-byte aligned
  LatentCacheView cache = {};
  int64_t q_stride = 0;
  int64_t num_heads = 0;
  int64_t key_begin = 0;  // multiple of kKeySplit
  int64_t key_end = 0;    // at most key_begin + kKeySplit
  float scale = 0;
  AttentionPrecision precision = AttentionPrecision::kFloat32;
};

// Puts the splits of one token's heads [begin, end) together, in order of position.
struct MergeSplitsParams {
  const float* out = nullptr;  // [num_splits, H, R], split_stride between splits
  const float* max = nullptr;  // [num_splits, H]
  const float* sum = nullptr;  // [num_splits, H]
  float* y = nullptr;          // [H, R]: sum of weighted latents / sum of weights
  int64_t split_stride = 0;    // floats between the splits of out
  int64_t num_splits = 0;
  int64_t num_heads = 0;
  int64_t latent_dim = 0;
  int64_t begin = 0;  // range of heads
  int64_t end = 0;
};

// Expanded attention of one head over one sequence's tokens at positions [first_position, first_position +
// T): keys and values are expanded block by block from the cached latents by the head's packed parts of
// kv_b_proj, then used by every token of the segment. Causal.
struct ExpandedAttentionParams {
  const float* q = nullptr;            // [T], stride q_stride: the head's n + r elements, rotated
  const void* key_panels = nullptr;    // [n, R] packed, kv_b_format
  const void* value_panels = nullptr;  // [v, R] packed, kv_b_format
  const int32_t* page_table = nullptr;
  float* out = nullptr;     // [T], stride out_stride: the head's v elements
  void* scratch = nullptr;  // expanded_scratch_bytes(), 64-byte aligned
  LatentCacheView cache = {};
  int64_t q_stride = 0;
  int64_t out_stride = 0;
  int64_t num_tokens = 0;
  int64_t first_position = 0;
  int64_t nope_dim = 0;
  int64_t v_dim = 0;
  float scale = 0;
  PanelFormat kv_b_format = PanelFormat::kFloat32;
  AttentionPrecision precision = AttentionPrecision::kFloat32;
};

static inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Bytes of scratch that every implementation of absorbed attention keeps within: queries, one block of keys,
// its scores and weights, and the sums, each as float32 with rows padded to whole lines.
static inline int64_t absorbed_scratch_bytes(int64_t num_heads, int64_t latent_dim, int64_t rope_dim) {
  const int64_t heads = round_up(num_heads, 16);
  const int64_t width = round_up(latent_dim, 32) + round_up(rope_dim, 32) + 32;
  return 4 * (heads * width * 2 + kKeyBlock * width + 3 * kKeyBlock * heads + 4 * heads) + 4096;
}

// The same of one head's expanded attention: queries and running maxima of T tokens; one block of latents,
// keys, values and, for 64 tokens at a time, scores and weights.
static inline int64_t expanded_scratch_bytes(int64_t num_tokens, int64_t latent_dim, int64_t rope_dim,
                                             int64_t nope_dim, int64_t v_dim) {
  const int64_t key_width = round_up(nope_dim, 32) + round_up(rope_dim, 32) + 32;
  const int64_t v_width = round_up(v_dim, 32) + 32;
  const int64_t block_width = round_up(latent_dim, 32) + 32 + 2 * key_width + 2 * v_width + 2 * kKeyBlock;
  return 4 * (kKeyBlock * block_width + round_up(num_tokens, 64) * (key_width + v_width + 4)) + 8192;
}

// Router: scores = softmax(logits) over all E experts; optional restriction to the best topk_group of
// n_group contiguous groups (by each group's largest score); the K largest, ties to the lower id. Written in
// ascending expert id. weights = score * scaling, or score / (sum + 1e-20) when normalised.
struct RouterParams {
  enum class Weights : uint8_t { kScaled, kNormalized };

  const float* logits = nullptr;    // [T, E] products of the hidden state with the router's rows
  int32_t* expert_ids = nullptr;    // [T, K]
  float* expert_weights = nullptr;  // [T, K]
  float* scratch = nullptr;         // [E + n_group]
  int64_t num_experts = 0;
  int64_t experts_per_token = 0;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  float scaling = 1;
  Weights weights = Weights::kScaled;
  int64_t begin = 0;  // range of tokens
  int64_t end = 0;
};

}  // namespace fathom::kernels
