#include "kernels/cpu/avx2/kernels.h"
#include "kernels/cpu/avx2/vector.h"

namespace fathom::kernels::avx2 {
namespace {

// Tokens that pass over a weight row while it is in L1, and whose inputs (64 * 2048 floats = 512 KiB) stay in
// L2.
constexpr int64_t kTokenTile = 64;

void store_output(const LinearParams& p, int64_t t, int64_t j, float sum) {
  if (p.bias != nullptr) sum += p.bias[j];
  float& y = p.y[t * p.y_stride + j];
  y = p.output == LinearParams::Output::kAdd ? y + sum : sum;
}

// kOutputs weight rows from j against kTokens tokens from t: kOutputs * kTokens accumulators of 16 registers.
template <typename Decoder, int kOutputs, int kTokens>
void tile(const LinearParams& p, int64_t t, int64_t j) {
  const auto* weight = static_cast<const typename Decoder::Element*>(p.weight) + j * p.num_inputs;
  const float* x = p.x + t * p.x_stride;
  __m256 sums[kOutputs][kTokens];
  for (auto& row : sums) {
    for (__m256& sum : row) sum = _mm256_setzero_ps();
  }
  int64_t k = 0;
  for (; k + 8 <= p.num_inputs; k += 8) {
    __m256 inputs[kTokens];
    for (int m = 0; m < kTokens; ++m) inputs[m] = _mm256_loadu_ps(x + m * p.x_stride + k);
    for (int n = 0; n < kOutputs; ++n) {
      const __m256 w = Decoder::load(weight + n * p.num_inputs + k);
      for (int m = 0; m < kTokens; ++m) sums[n][m] = _mm256_fmadd_ps(w, inputs[m], sums[n][m]);
    }
  }
  if (const int64_t tail = p.num_inputs - k; tail > 0) {
    for (int n = 0; n < kOutputs; ++n) {
      const __m256 w = load_tail<Decoder>(weight + n * p.num_inputs + k, tail);
      for (int m = 0; m < kTokens; ++m) {
        sums[n][m] = _mm256_fmadd_ps(w, load_tail<DecodeFloat32>(x + m * p.x_stride + k, tail), sums[n][m]);
      }
    }
  }
  for (int n = 0; n < kOutputs; ++n) {
    for (int m = 0; m < kTokens; ++m) store_output(p, t + m, j + n, sum_lanes(sums[n][m]));
  }
}

template <typename Decoder, int kTokens, int kOutputs>
void token_rows(const LinearParams& p, int64_t t) {
  int64_t j = p.begin;
  for (; j + kOutputs <= p.end; j += kOutputs) tile<Decoder, kOutputs, kTokens>(p, t, j);
  for (; j < p.end; ++j) tile<Decoder, 1, kTokens>(p, t, j);
}

template <typename Decoder>
void token_tile(const LinearParams& p, int64_t t_begin, int64_t t_end) {
  int64_t j = p.begin;
  for (; j + 4 <= p.end; j += 4) {
    int64_t t = t_begin;
    for (; t + 3 <= t_end; t += 3) tile<Decoder, 4, 3>(p, t, j);
    for (; t < t_end; ++t) tile<Decoder, 4, 1>(p, t, j);
  }
  for (; j < p.end; ++j) {
    for (int64_t t = t_begin; t < t_end; ++t) tile<Decoder, 1, 1>(p, t, j);
  }
}

}  // namespace

void linear(const LinearParams& p) {
  with_decoder(p.weight_dtype, [&p](auto decoder) {
    using Decoder = decltype(decoder);
    if (p.num_tokens == 1) return token_rows<Decoder, 1, 8>(p, 0);
    if (p.num_tokens == 2) return token_rows<Decoder, 2, 4>(p, 0);
    for (int64_t t = 0; t < p.num_tokens; t += kTokenTile) {
      token_tile<Decoder>(p, t, t + kTokenTile < p.num_tokens ? t + kTokenTile : p.num_tokens);
    }
  });
}

void transposed_linear(const TransposedLinearParams& p) {
  with_decoder(p.weight_dtype, [&p](auto decoder) {
    using Decoder = decltype(decoder);
    const auto* weight = static_cast<const typename Decoder::Element*>(p.weight);
    int64_t j = 0;
    for (; j + 32 <= p.num_outputs; j += 32) {
      __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
      for (int64_t k = 0; k < p.num_inputs; ++k) {
        const __m256 x = _mm256_set1_ps(p.x[k]);
        const auto* row = weight + k * p.num_outputs + j;
        for (int i = 0; i < 4; ++i) sums[i] = _mm256_fmadd_ps(x, Decoder::load(row + 8 * i), sums[i]);
      }
      for (int i = 0; i < 4; ++i) _mm256_storeu_ps(p.y + j + 8 * i, sums[i]);
    }
    for (; j < p.num_outputs; ++j) {
      __m128 sum = _mm_setzero_ps();
      for (int64_t k = 0; k < p.num_inputs; ++k) {
        sum = _mm_fmadd_ss(_mm_set_ss(p.x[k]), _mm_set_ss(Decoder::one(weight[k * p.num_outputs + j])), sum);
      }
      p.y[j] = _mm_cvtss_f32(sum);
    }
  });
}

}  // namespace fathom::kernels::avx2
