// The arguments of every kernel: pointers and sizes, nothing else. Plain data header.
//
// Symbols: T tokens in the batch, D hidden_size, H heads, R kv_lora_rank, E routed experts, K experts per
// token, n = qk_nope_head_dim, r = qk_rope_head_dim, v = v_head_dim.
//
// Activations are float32 in memory. A producer that feeds a linear rounds its output to the activation
// dtype (ActivationRounding), so that the values are those of a bf16 or fp16 engine. Strides are in elements.
// Ranges are [begin, end): the caller splits the work, a kernel has no threads.
// Determinism: every output element is computed in an order that depends on its own position and on the
// model's sizes only, never on T, on the range or on other rows.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fathom::kernels {

// y[t, j] (+)= sum over k of x[t, k] * w[j, k] (+ bias[j]) for t in [0, T) and j in [begin, end).
struct LinearParams {
  enum class Output : uint8_t { kStore, kAdd };

  const float* x = nullptr;      // [T, num_inputs], stride x_stride
  const void* weight = nullptr;  // [num_outputs, num_inputs] row-major, weight_dtype
  const float* bias = nullptr;   // [num_outputs] or null
  float* y = nullptr;            // [T, num_outputs], stride y_stride
  int64_t num_tokens = 0;
  int64_t num_inputs = 0;
  int64_t x_stride = 0;
  int64_t y_stride = 0;
  int64_t begin = 0;  // range of outputs
  int64_t end = 0;
  DType weight_dtype = DType::kFloat32;
  Output output = Output::kStore;
};

// y[j] = sum over k of x[k] * w[k, j]: the transposed product of one token, used to
// fold the key half of kv_b_proj into the query (absorbed form).
struct TransposedLinearParams {
  const float* x = nullptr;      // [num_inputs]
  const void* weight = nullptr;  // [num_inputs, num_outputs] row-major, weight_dtype
  float* y = nullptr;            // [num_outputs]
  int64_t num_inputs = 0;
  int64_t num_outputs = 0;
  DType weight_dtype = DType::kFloat32;
};

// How a float32 value is rounded before it is multiplied by weights. kFloat16 keeps float16's 11
// significant bits but float32's range, so that large activations stay finite.
enum class ActivationRounding : uint8_t { kNone, kBFloat16, kFloat16 };

// y = round(x * rsqrt(mean(x^2) + eps) * weight), row by row.
struct RmsNormParams {
  const float* x = nullptr;       // [T, width], stride x_stride
  const float* weight = nullptr;  // [width]
  float* y = nullptr;             // [T, width], stride y_stride
  int64_t width = 0;
  int64_t x_stride = 0;
  int64_t y_stride = 0;
  float eps = 0;
  int64_t begin = 0;  // range of tokens
  int64_t end = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

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

// The latent cache of one layer: page p, offset o is row p * block_size + o of [rows, R + r]: the normalised
// latent, then the rotated key.
struct LatentCacheView {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  int64_t latent_dim = 0;  // R
  int64_t rope_dim = 0;    // r
  int64_t block_size = 0;  // tokens per page
};

// From kv_a = [c | k_rope] of each token: normalises c, rotates k_rope, rounds to the cache's dtype (float16
// saturates at its largest finite value) and writes the row at the token's slot.
struct StoreLatentParams {
  const float* kv_a = nullptr;         // [T, R + r]
  const float* norm_weight = nullptr;  // [R]
  const int32_t* positions = nullptr;  // [T]
  const int64_t* slots = nullptr;      // [T]
  const float* cos_table = nullptr;
  const float* sin_table = nullptr;
  LatentCacheView cache;
  float eps = 0;
  int64_t begin = 0;  // range of tokens
  int64_t end = 0;
};

// Absorbed attention of one token and heads [begin, end):
// score(h, s) = scale * (q_latent[h] . c_s + q_rope[h] . k_s), s in [0, num_keys); softmax; out[h] = sum p
// c_s. Keys are taken in blocks of kKeyBlock by absolute position with a running maximum (online softmax).
struct AbsorbedAttentionParams {
  const float* q_latent = nullptr;  // [H, R]
  const float* q_rope = nullptr;    // [H], stride q_rope_stride, r elements each
  const int32_t* page_table = nullptr;
  float* out = nullptr;      // [H, R]
  float* scratch = nullptr;  // absorbed_scratch_floats()
  LatentCacheView cache;
  int64_t q_rope_stride = 0;
  int64_t num_keys = 0;
  float scale = 0;
  int64_t begin = 0;  // range of heads
  int64_t end = 0;
};

// Expanded attention of one head over one sequence's tokens at positions [first_position, first_position +
// T): keys and values are expanded block by block from the cached latents by the head's rows of kv_b_proj
// ([n + v, R]: keys first), then used by every token of the segment.
struct ExpandedAttentionParams {
  const float* q = nullptr;    // [T], stride q_stride: the head's n + r elements
  const void* kv_b = nullptr;  // [n + v, R] row-major, kv_b_dtype
  const int32_t* page_table = nullptr;
  float* out = nullptr;      // [T], stride out_stride: the head's v elements
  float* scratch = nullptr;  // expanded_scratch_floats()
  LatentCacheView cache;
  int64_t q_stride = 0;
  int64_t out_stride = 0;
  int64_t num_tokens = 0;
  int64_t first_position = 0;
  int64_t nope_dim = 0;
  int64_t v_dim = 0;
  float scale = 0;
  DType kv_b_dtype = DType::kFloat32;
};

// Keys that one step of the online softmax takes together. Part of the result's definition: changing it
// changes bits.
inline constexpr int64_t kKeyBlock = 64;

// Floats of scratch that one call of absorbed attention needs for num_heads heads.
inline int64_t absorbed_scratch_floats(int64_t num_heads, int64_t latent_dim, int64_t rope_dim) {
  return kKeyBlock * (latent_dim + rope_dim + 1) + num_heads * 2;
}

// Floats of scratch that one thread's expanded attention needs.
inline int64_t expanded_scratch_floats(int64_t num_tokens, int64_t latent_dim, int64_t rope_dim,
                                       int64_t nope_dim, int64_t v_dim) {
  return kKeyBlock * (latent_dim + nope_dim + 2 * rope_dim + v_dim + 1) + num_tokens * 2;
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

// x = round(x) for elements [begin, end).
struct RoundParams {
  float* x = nullptr;
  int64_t begin = 0;
  int64_t end = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

// h[t, j] = round(silu(gate[t, j]) * up[t, j]) for columns [begin, end); in place on gate is allowed.
struct SiluMulParams {
  const float* gate = nullptr;  // [T], stride
  const float* up = nullptr;    // [T], stride
  float* h = nullptr;           // [T], stride
  int64_t num_tokens = 0;
  int64_t stride = 0;
  int64_t begin = 0;  // range of columns
  int64_t end = 0;
  ActivationRounding rounding = ActivationRounding::kNone;
};

}  // namespace fathom::kernels
