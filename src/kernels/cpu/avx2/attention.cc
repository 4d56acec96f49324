#include "kernels/cpu/avx2/kernels.h"
#include "kernels/cpu/avx2/vector.h"

namespace fathom::kernels::avx2 {
namespace {

// The running maximum and sum of one row of the online softmax.
struct Running {
  float largest;
  float sum;
};

constexpr float kMinusInfinity = -__builtin_inff();

int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

// Rows of the cache at positions [first, first + count) as floats, one after another.
void decode_keys(const LatentCacheView& cache, const int32_t* page_table, int64_t first, int64_t count,
                 float* rows) {
  const int64_t width = cache.latent_dim + cache.rope_dim;
  with_decoder(cache.dtype, [&](auto decoder) {
    using Decoder = decltype(decoder);
    for (int64_t s = 0; s < count; ++s) {
      const int64_t position = first + s;
      const int64_t row =
          page_table[position / cache.block_size] * cache.block_size + position % cache.block_size;
      decode_row<Decoder>(static_cast<const typename Decoder::Element*>(cache.data) + row * width,
                          rows + s * width, width);
    }
  });
}

// One block of scores (count <= kKeyBlock, the rest of the array is free) joins the running softmax: scores
// become weights relative to the new maximum and out is rescaled to it. The lanes' sums are added last.
void join_block(float* scores, int64_t count, Running& running, float* out, int64_t out_dim) {
  float largest = running.largest;
  for (int64_t s = 0; s < count; ++s) largest = scores[s] > largest ? scores[s] : largest;
  for (int64_t s = count; s < kKeyBlock; ++s) scores[s] = kMinusInfinity;
  const __m256 offset = _mm256_set1_ps(largest);
  __m256 sum = _mm256_setzero_ps();
  for (int64_t s = 0; s < kKeyBlock; s += 8) {
    const __m256 weights = exp_lanes(_mm256_sub_ps(_mm256_loadu_ps(scores + s), offset));
    _mm256_storeu_ps(scores + s, weights);
    sum = _mm256_add_ps(sum, weights);
  }
  const float rescale = _mm256_cvtss_f32(exp_lanes(_mm256_set1_ps(running.largest - largest)));
  if (rescale != 1.0f) scale(out, rescale, out_dim);
  running = {largest, running.sum * rescale + sum_lanes(sum)};
}

void clear(float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = 0;
}

}  // namespace

void absorbed_attention(const AbsorbedAttentionParams& p) {
  const int64_t latent_dim = p.cache.latent_dim;
  const int64_t rope_dim = p.cache.rope_dim;
  const int64_t width = latent_dim + rope_dim;
  float* keys = p.scratch;                   // [kKeyBlock, R + r]
  float* scores = keys + kKeyBlock * width;  // [kKeyBlock]
  auto* running = reinterpret_cast<Running*>(scores + kKeyBlock);
  for (int64_t h = p.begin; h < p.end; ++h) {
    running[h - p.begin] = {kMinusInfinity, 0};
    clear(p.out + h * latent_dim, latent_dim);
  }
  for (int64_t first = 0; first < p.num_keys; first += kKeyBlock) {
    const int64_t count = min_of(kKeyBlock, p.num_keys - first);
    decode_keys(p.cache, p.page_table, first, count, keys);
    for (int64_t h = p.begin; h < p.end; ++h) {
      float* out = p.out + h * latent_dim;
      for (int64_t s = 0; s < count; ++s) {
        const float* key = keys + s * width;
        scores[s] = p.scale * (dot(p.q_latent + h * latent_dim, key, latent_dim) +
                               dot(p.q_rope + h * p.q_rope_stride, key + latent_dim, rope_dim));
      }
      join_block(scores, count, running[h - p.begin], out, latent_dim);
      for (int64_t s = 0; s < count; ++s) add_scaled(out, scores[s], keys + s * width, latent_dim);
    }
  }
  for (int64_t h = p.begin; h < p.end; ++h)
    scale(p.out + h * latent_dim, 1.0f / running[h - p.begin].sum, latent_dim);
}

namespace {

// Expanded keys [count, n + r] and values [count, v] of one head for the decoded rows of a block.
void expand_block(const ExpandedAttentionParams& p, const float* rows, int64_t count, float* keys,
                  float* values) {
  const int64_t latent_dim = p.cache.latent_dim;
  const int64_t width = latent_dim + p.cache.rope_dim;
  const int64_t key_dim = p.nope_dim + p.cache.rope_dim;
  LinearParams product;
  product.x = rows;
  product.x_stride = width;
  product.num_tokens = count;
  product.num_inputs = latent_dim;
  product.weight = p.kv_b;
  product.weight_dtype = p.kv_b_dtype;
  product.y = keys;
  product.y_stride = key_dim;
  product.begin = 0;
  product.end = p.nope_dim;
  linear(product);
  product.y = values - p.nope_dim;  // output j of the second half goes to column j - n
  product.y_stride = p.v_dim;
  product.begin = p.nope_dim;
  product.end = p.nope_dim + p.v_dim;
  linear(product);
  for (int64_t s = 0; s < count; ++s) {
    for (int64_t i = 0; i < p.cache.rope_dim; ++i) {
      keys[s * key_dim + p.nope_dim + i] = rows[s * width + latent_dim + i];
    }
  }
}

}  // namespace

void expanded_attention(const ExpandedAttentionParams& p) {
  const int64_t width = p.cache.latent_dim + p.cache.rope_dim;
  const int64_t key_dim = p.nope_dim + p.cache.rope_dim;
  float* rows = p.scratch;                                         // [kKeyBlock, R + r]
  float* keys = rows + kKeyBlock * width;                          // [kKeyBlock, n + r]
  float* values = keys + kKeyBlock * key_dim;                      // [kKeyBlock, v]
  float* scores = values + kKeyBlock * p.v_dim;                    // [kKeyBlock]
  auto* running = reinterpret_cast<Running*>(scores + kKeyBlock);  // [T]
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    running[t] = {kMinusInfinity, 0};
    clear(p.out + t * p.out_stride, p.v_dim);
  }
  const int64_t num_keys = p.first_position + p.num_tokens;
  for (int64_t first = 0; first < num_keys; first += kKeyBlock) {
    const int64_t count = min_of(kKeyBlock, num_keys - first);
    decode_keys(p.cache, p.page_table, first, count, rows);
    expand_block(p, rows, count, keys, values);
    const int64_t first_token = first > p.first_position ? first - p.first_position : 0;
    for (int64_t t = first_token; t < p.num_tokens; ++t) {
      const int64_t visible = min_of(count, p.first_position + t + 1 - first);
      float* out = p.out + t * p.out_stride;
      for (int64_t s = 0; s < visible; ++s) {
        scores[s] = p.scale * dot(p.q + t * p.q_stride, keys + s * key_dim, key_dim);
      }
      join_block(scores, visible, running[t], out, p.v_dim);
      for (int64_t s = 0; s < visible; ++s) add_scaled(out, scores[s], values + s * p.v_dim, p.v_dim);
    }
  }
  for (int64_t t = 0; t < p.num_tokens; ++t) scale(p.out + t * p.out_stride, 1.0f / running[t].sum, p.v_dim);
}

}  // namespace fathom::kernels::avx2
