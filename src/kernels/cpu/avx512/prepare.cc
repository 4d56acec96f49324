#include "kernels/cpu/avx512/kernels.h"
#include "kernels/cpu/avx512/lanes.h"

namespace fathom::kernels::avx512 {
namespace {

// 1 / sqrt(mean(x^2) + eps): four sums of every fourth group of 16 lanes, then the lanes.
float inverse_rms(const float* x, int64_t width, float eps) {
  __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  int64_t i = 0;
  for (; i + 64 <= width; i += 64) {
    for (int part = 0; part < 4; ++part) {
      const __m512 values = _mm512_loadu_ps(x + i + 16 * part);
      sums[part] = _mm512_fmadd_ps(values, values, sums[part]);
    }
  }
  for (int part = 0; i < width; i += 16, ++part) {
    const __m512 values = _mm512_maskz_loadu_ps(first_lanes(width - i), x + i);
    sums[part] = _mm512_fmadd_ps(values, values, sums[part]);
  }
  const float sum =
      _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
  const __m128 mean = _mm_set_ss(sum / static_cast<float>(width) + eps);
  return 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(mean));
}

// The values that the forms are made of, 16 at a time.
class Row {
 public:
  Row(const PrepareParams& p, int64_t t)
      : p_(p),
        x_(p.x + t * p.x_stride),
        scale_(_mm512_set1_ps(p.norm_weight != nullptr ? inverse_rms(x_, p.width, p.eps) : 1.0f)) {}

  // Lanes beyond the row's width are zero.
  __m512 load(int64_t i) const {
    const __mmask16 lanes = first_lanes(p_.width - i);
    __m512 values = _mm512_maskz_loadu_ps(lanes, x_ + i);
    if (p_.norm_weight != nullptr) {
      values = _mm512_mul_ps(_mm512_mul_ps(values, scale_), _mm512_maskz_loadu_ps(lanes, p_.norm_weight + i));
    }
    return round_lanes(values, p_.rounding);
  }

 private:
  const PrepareParams& p_;
  const float* x_;
  __m512 scale_;
};

// max|x|, NaN where a value is not finite: magnitudes order like their bits.
float largest_magnitude(const Row& row, int64_t width) {
  __m512i largest = _mm512_setzero_si512();
  for (int64_t i = 0; i < width; i += 16) {
    largest = _mm512_max_epu32(largest, _mm512_castps_si512(_mm512_abs_ps(row.load(i))));
  }
  const uint32_t bits = _mm512_reduce_max_epu32(largest);
  if (bits >= 0x7f800000u) return __builtin_nanf("");
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

float inverse_scale(float largest, float limit) { return largest > 0 ? limit / largest : 0.0f; }

__m512 nearest(__m512 x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

void store_bytes(uint8_t* out, __m512 values, __m512i zero_point) {
  const __m512i integers = _mm512_add_epi32(_mm512_cvtps_epi32(values), zero_point);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(integers));
}

// A row of zeros for one that is not finite: its scale says so.
__m512 scaled(const Row& row, int64_t i, float inverse) {
  return inverse > 0 ? nearest(_mm512_mul_ps(row.load(i), _mm512_set1_ps(inverse))) : _mm512_setzero_ps();
}

void write_int8(const PrepareParams& p, const Row& row, float largest, int64_t t) {
  const float inverse = inverse_scale(largest, kInt8Limit);
  const __m512i zero_point = _mm512_set1_epi32(p.int8_zero_point);
  p.int8.scales[t] = largest / kInt8Limit;
  auto* out = static_cast<uint8_t*>(p.int8.data) + t * p.int8.padded;
  for (int64_t i = 0; i < p.int8.padded; i += 16) store_bytes(out + i, scaled(row, i, inverse), zero_point);
}

void write_int8_pair(const PrepareParams& p, const Row& row, float largest, int64_t t) {
  const float inverse = inverse_scale(largest, kInt8PairLimit);
  const __m512i zero_point = _mm512_set1_epi32(p.int8_zero_point);
  p.int8_pair.scales[t] = largest / kInt8PairLimit;
  auto* out = static_cast<uint8_t*>(p.int8_pair.data) + 2 * t * p.int8_pair.padded;
  for (int64_t i = 0; i < p.int8_pair.padded; i += 16) {
    const __m512 q = scaled(row, i, inverse);
    const __m512 high = nearest(_mm512_mul_ps(q, _mm512_set1_ps(1.0f / kDigitBase)));
    store_bytes(out + i, high, zero_point);
    store_bytes(out + p.int8_pair.padded + i, _mm512_fnmadd_ps(_mm512_set1_ps(kDigitBase), high, q),
                zero_point);
  }
}

// Ties to even; a NaN keeps its upper bits and is made quiet.
void write_bf16(const PreparedRows& out, const Row& row, int64_t t) {
  auto* bits = static_cast<uint16_t*>(out.data) + t * out.padded;
  for (int64_t i = 0; i < out.padded; i += 16) {
    const __m512 values = row.load(i);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
    __m512i upper = _mm512_srli_epi32(_mm512_castps_si512(keep_top_bits(values, 16)), 16);
    upper = _mm512_mask_or_epi32(upper, is_nan, upper, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(bits + i), _mm512_cvtepi32_epi16(upper));
  }
}

void write_float32(const PreparedRows& out, const Row& row, int64_t t) {
  float* y = static_cast<float*>(out.data) + t * out.padded;
  for (int64_t i = 0; i < out.padded; i += 16) {
    _mm512_mask_storeu_ps(y + i, first_lanes(out.padded - i), row.load(i));
  }
}

}  // namespace

void prepare(const PrepareParams& p) {
  for (int64_t t = p.begin; t < p.end; ++t) {
    const Row row(p, t);
    if (p.float32.data != nullptr) write_float32(p.float32, row, t);
    if (p.bfloat16.data != nullptr) write_bf16(p.bfloat16, row, t);
    if (p.int8.data == nullptr && p.int8_pair.data == nullptr) continue;
    const float largest = largest_magnitude(row, p.width);
    if (p.int8.data != nullptr) write_int8(p, row, largest, t);
    if (p.int8_pair.data != nullptr) write_int8_pair(p, row, largest, t);
  }
}

}  // namespace fathom::kernels::avx512
