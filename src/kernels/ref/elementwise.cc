#include "kernels/ref/kernels.h"
#include "kernels/ref/numbers.h"

namespace fathom::kernels::ref {
namespace {

float inverse_rms(const float* x, int64_t width, float eps) {
  double sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += static_cast<double>(x[i]) * x[i];
  return static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(width) + eps));
}

// (a, b) as the complex number a + ib, times cos + i sin.
void rotate(float& a, float& b, float cosine, float sine) {
  const float real = a * cosine - b * sine;
  b = a * sine + b * cosine;
  a = real;
}

}  // namespace

void rms_norm(const RmsNormParams& p) {
  for (int64_t t = p.begin; t < p.end; ++t) {
    const float* x = p.x + t * p.x_stride;
    const float scale = inverse_rms(x, p.width, p.eps);
    for (int64_t i = 0; i < p.width; ++i) {
      p.y[t * p.y_stride + i] = round_activation(x[i] * scale * p.weight[i], p.rounding);
    }
  }
}

void rope_query(const RopeQueryParams& p) {
  const int64_t half = p.rope_dim / 2;
  for (int64_t t = p.begin; t < p.end; ++t) {
    const float* cosines = p.cos_table + p.positions[t] * half;
    const float* sines = p.sin_table + p.positions[t] * half;
    for (int64_t h = 0; h < p.num_heads; ++h) {
      float* rope = p.q + (t * p.num_heads + h) * (p.nope_dim + p.rope_dim) + p.nope_dim;
      for (int64_t j = 0; j < half; ++j) rotate(rope[2 * j], rope[2 * j + 1], cosines[j], sines[j]);
    }
  }
}

void store_latent(const StoreLatentParams& p) {
  const LatentCacheView& cache = p.cache;
  const int64_t row_width = cache.latent_dim + cache.rope_dim;
  const int64_t half = cache.rope_dim / 2;
  for (int64_t t = p.begin; t < p.end; ++t) {
    const float* kv = p.kv_a + t * row_width;
    const int64_t row = p.slots[t] * row_width;
    const float scale = inverse_rms(kv, cache.latent_dim, p.eps);
    for (int64_t i = 0; i < cache.latent_dim; ++i) {
      store_element(cache.data, cache.dtype, row + i, kv[i] * scale * p.norm_weight[i]);
    }
    for (int64_t j = 0; j < half; ++j) {
      float a = kv[cache.latent_dim + 2 * j];
      float b = kv[cache.latent_dim + 2 * j + 1];
      rotate(a, b, p.cos_table[p.positions[t] * half + j], p.sin_table[p.positions[t] * half + j]);
      store_element(cache.data, cache.dtype, row + cache.latent_dim + 2 * j, a);
      store_element(cache.data, cache.dtype, row + cache.latent_dim + 2 * j + 1, b);
    }
  }
}

void silu_mul(const SiluMulParams& p) {
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    for (int64_t j = p.begin; j < p.end; ++j) {
      const float gate = p.gate[t * p.stride + j];
      const float silu = gate / (1.0f + std::exp(-gate));
      p.h[t * p.stride + j] = round_activation(silu * p.up[t * p.stride + j], p.rounding);
    }
  }
}

void round(const RoundParams& p) {
  for (int64_t i = p.begin; i < p.end; ++i) p.x[i] = round_activation(p.x[i], p.rounding);
}

}  // namespace fathom::kernels::ref
