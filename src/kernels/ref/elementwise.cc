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

// max|x|; NaN where a value is not finite.
float largest_magnitude(const float* x, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(x[i])) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, std::abs(x[i]));
  }
  return largest;
}

// What a row's values are multiplied by before they are rounded to integers; 0 for a row of zeros, one that
// is not finite, or one so small that the quotient overflows.
float inverse_scale(float largest, float limit) {
  const float inverse = largest > 0 ? limit / largest : 0.0f;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

void write_int8(const PreparedRows& out, const float* row, int64_t width, int64_t t, uint8_t zero_point) {
  const float largest = largest_magnitude(row, width);
  const float inverse = inverse_scale(largest, kInt8Limit);
  out.scales[t] = largest / kInt8Limit;
  auto* bytes = static_cast<uint8_t*>(out.data) + t * out.padded;
  for (int64_t i = 0; i < out.padded; ++i) {
    const float q = i < width && inverse > 0 ? std::nearbyint(row[i] * inverse) : 0.0f;
    bytes[i] = static_cast<uint8_t>(static_cast<int32_t>(q) + zero_point);
  }
}

void write_int8_pair(const PreparedRows& out, const float* row, int64_t width, int64_t t,
                     uint8_t zero_point) {
  const float largest = largest_magnitude(row, width);
  const float inverse = inverse_scale(largest, kInt8PairLimit);
  out.scales[t] = largest / kInt8PairLimit;
  auto* high_bytes = static_cast<uint8_t*>(out.data) + 2 * t * out.padded;
  auto* low_bytes = high_bytes + out.padded;
  for (int64_t i = 0; i < out.padded; ++i) {
    const float q = i < width && inverse > 0 ? std::nearbyint(row[i] * inverse) : 0.0f;
    const float high = std::nearbyint(q * (1.0f / kDigitBase));
    high_bytes[i] = static_cast<uint8_t>(static_cast<int32_t>(high) + zero_point);
    low_bytes[i] = static_cast<uint8_t>(static_cast<int32_t>(q - kDigitBase * high) + zero_point);
  }
}

void write_floats(const PreparedRows& out, DType dtype, const float* row, int64_t width, int64_t t) {
  for (int64_t i = 0; i < out.padded; ++i) {
    store_element(out.data, dtype, t * out.padded + i, i < width ? row[i] : 0.0f);
  }
}

}  // namespace

void prepare(const PrepareParams& p) {
  std::vector<float> row(static_cast<size_t>(p.width));
  for (int64_t t = p.begin; t < p.end; ++t) {
    const float* x = p.x + t * p.x_stride;
    const float scale = p.norm_weight != nullptr ? inverse_rms(x, p.width, p.eps) : 1.0f;
    for (int64_t i = 0; i < p.width; ++i) {
      const float normed = p.norm_weight != nullptr ? x[i] * scale * p.norm_weight[i] : x[i];
      row[static_cast<size_t>(i)] = round_activation(normed, p.rounding);
    }
    if (p.float32.data != nullptr) write_floats(p.float32, DType::kFloat32, row.data(), p.width, t);
    if (p.bfloat16.data != nullptr) write_floats(p.bfloat16, DType::kBFloat16, row.data(), p.width, t);
    if (p.int8.data != nullptr) write_int8(p.int8, row.data(), p.width, t, p.int8_zero_point);
    if (p.int8_pair.data != nullptr) write_int8_pair(p.int8_pair, row.data(), p.width, t, p.int8_zero_point);
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
  std::vector<float> values(static_cast<size_t>(row_width));
  for (int64_t t = p.begin; t < p.end; ++t) {
    const float* kv = p.kv_a + t * row_width;
    const float scale = inverse_rms(kv, cache.latent_dim, p.eps);
    for (int64_t i = 0; i < cache.latent_dim; ++i) {
      values[static_cast<size_t>(i)] = kv[i] * scale * p.norm_weight[i];
    }
    float* rope = values.data() + cache.latent_dim;
    for (int64_t j = 0; j < half; ++j) {
      rope[2 * j] = kv[cache.latent_dim + 2 * j];
      rope[2 * j + 1] = kv[cache.latent_dim + 2 * j + 1];
      rotate(rope[2 * j], rope[2 * j + 1], p.cos_table[p.positions[t] * half + j],
             p.sin_table[p.positions[t] * half + j]);
    }
    store_cached(cache, p.slots[t], values.data());
  }
}

}  // namespace fathom::kernels::ref
