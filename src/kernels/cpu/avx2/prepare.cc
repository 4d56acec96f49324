#include "kernels/cpu/avx2/kernels.h"
#include "kernels/cpu/avx2/vector.h"

namespace fathom::kernels::avx2 {
namespace {

// One row of inputs, normed and rounded whenever eight of its values are wanted: it is read twice, for its
// largest magnitude and for the outputs, and lies in L1.
class Row {
 public:
  Row(const PrepareParams& p, int64_t t)
      : x_(p.x + t * p.x_stride), norm_weight_(p.norm_weight), width_(p.width), rounding_(p.rounding) {
    scale_ = _mm256_set1_ps(norm_weight_ != nullptr ? inverse_rms(x_, width_, p.eps) : 1.0f);
  }

  // Values [i, i + 8), zeros beyond the width.
  __m256 values(int64_t i) const {
    const int64_t count = width_ - i;
    if (count <= 0) return _mm256_setzero_ps();
    __m256 v = load_lanes(x_ + i, count);
    if (norm_weight_ != nullptr)
      v = _mm256_mul_ps(_mm256_mul_ps(v, scale_), load_lanes(norm_weight_ + i, count));
    v = round_lanes(v, rounding_);
    // A scale that is not finite would make NaN of the zeros.
    return count < kLanes ? _mm256_and_ps(v, _mm256_castsi256_ps(lane_mask(count))) : v;
  }

  // max|x|; NaN where a value is not finite. Magnitudes compare as integers do, and infinity and NaN are the
  // largest of these.
  float largest_magnitude() const {
    __m256i largest = _mm256_setzero_si256();
    for (int64_t i = 0; i < width_; i += kLanes)
      largest = _mm256_max_epi32(largest, magnitude_bits(values(i)));
    const int32_t bits = max_lanes(largest);
    return bits >= 0x7f800000 ? __builtin_nanf("") : _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
  }

 private:
  const float* x_;
  const float* norm_weight_;
  int64_t width_;
  ActivationRounding rounding_;
  __m256 scale_;
};

// What values are multiplied by before they are rounded to integers; 0 for a row of zeros, one that is not
// finite, and one whose limit / largest overflows.
__m256 inverse_scale(float largest, float limit) {
  const float inverse = largest > 0 ? limit / largest : 0.0f;
  return _mm256_set1_ps(inverse < kInfinity ? inverse : 0.0f);
}

// x * inverse; zero where the inverse is, even of infinity and NaN.
__m256 scaled(__m256 x, __m256 inverse) {
  const __m256 has_scale = _mm256_cmp_ps(inverse, _mm256_setzero_ps(), _CMP_GT_OQ);
  return _mm256_and_ps(_mm256_mul_ps(x, inverse), has_scale);
}

__m256 nearest(__m256 x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

// 32 bytes of four vectors of integers in [-127, 127].
__m256i pack_bytes(const __m256 (&q)[4], __m256i zero_point) {
  const __m256i first = _mm256_packs_epi32(_mm256_cvtps_epi32(q[0]), _mm256_cvtps_epi32(q[1]));
  const __m256i second = _mm256_packs_epi32(_mm256_cvtps_epi32(q[2]), _mm256_cvtps_epi32(q[3]));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // the packs work on halves
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(first, second), order);
  return _mm256_add_epi8(bytes, zero_point);
}

void store_bytes(uint8_t* out, int64_t count, __m256i bytes) {
  if (count >= 32) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
  alignas(32) uint8_t all[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(all), bytes);
  memcpy(out, all, static_cast<size_t>(count));
}

void write_int8(const PreparedRows& out, const Row& row, float largest, int64_t t, uint8_t zero_point) {
  out.scales[t] = largest / kInt8Limit;
  const __m256 inverse = inverse_scale(largest, kInt8Limit);
  const __m256i zero = _mm256_set1_epi8(static_cast<char>(zero_point));
  auto* bytes = static_cast<uint8_t*>(out.data) + t * out.padded;
  for (int64_t i = 0; i < out.padded; i += 32) {
    __m256 q[4];
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) q[n] = scaled(row.values(i + n * kLanes), inverse);
    store_bytes(bytes + i, out.padded - i, pack_bytes(q, zero));
  }
}

void write_int8_pair(const PreparedRows& out, const Row& row, float largest, int64_t t, uint8_t zero_point) {
  out.scales[t] = largest / kInt8PairLimit;
  const __m256 inverse = inverse_scale(largest, kInt8PairLimit);
  const __m256i zero = _mm256_set1_epi8(static_cast<char>(zero_point));
  auto* bytes = static_cast<uint8_t*>(out.data) + 2 * t * out.padded;
  for (int64_t i = 0; i < out.padded; i += 32) {
    __m256 high[4], low[4];
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) {
      const __m256 q = nearest(scaled(row.values(i + n * kLanes), inverse));
      high[n] = nearest(_mm256_mul_ps(q, _mm256_set1_ps(1.0f / kDigitBase)));
      low[n] = _mm256_fnmadd_ps(_mm256_set1_ps(kDigitBase), high[n], q);  // exact: integers below 2^24
    }
    store_bytes(bytes + i, out.padded - i, pack_bytes(high, zero));
    store_bytes(bytes + out.padded + i, out.padded - i, pack_bytes(low, zero));
  }
}

void write_bfloat16(const PreparedRows& out, const Row& row, int64_t t) {
  auto* elements = static_cast<uint16_t*>(out.data) + t * out.padded;
  for (int64_t i = 0; i < out.padded; i += kLanes) {
    const __m128i bits = bfloat16_bits(round_bfloat16(row.values(i)));
    if (out.padded - i >= kLanes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(elements + i), bits);
    } else {
      memcpy(elements + i, &bits, static_cast<size_t>(2 * (out.padded - i)));
    }
  }
}

// Last, since its rows may be x's own.
void write_float32(const PreparedRows& out, const Row& row, int64_t t) {
  float* values = static_cast<float*>(out.data) + t * out.padded;
  for (int64_t i = 0; i < out.padded; i += kLanes) store_lanes(values + i, out.padded - i, row.values(i));
}

}  // namespace

void prepare(const PrepareParams& p) {
  for (int64_t t = p.begin; t < p.end; ++t) {
    const Row row(p, t);
    if (p.int8.data != nullptr || p.int8_pair.data != nullptr) {
      const float largest = row.largest_magnitude();
      if (p.int8.data != nullptr) write_int8(p.int8, row, largest, t, p.int8_zero_point);
      if (p.int8_pair.data != nullptr) write_int8_pair(p.int8_pair, row, largest, t, p.int8_zero_point);
    }
    if (p.bfloat16.data != nullptr) write_bfloat16(p.bfloat16, row, t);
    if (p.float32.data != nullptr) write_float32(p.float32, row, t);
  }
}

}  // namespace fathom::kernels::avx2
