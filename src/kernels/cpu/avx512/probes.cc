#include "kernels/cpu/avx512/probes.h"

#include <immintrin.h>

namespace fathom::kernels::avx512 {
namespace {

// Makes the compiler believe that the value is used.
inline void use(__m512i v) { __asm__ volatile("" : : "v"(v)); }

template <int kStreams, bool kFetches>
void read_all(const char* data, int64_t bytes) {
  const int64_t part = bytes / kStreams;
  __m512i sums[4] = {};
  for (int64_t i = 0; i < part; i += kReadStepBytes) {
    for (int s = 0; s < kStreams; ++s) {
      const char* at = data + s * part + i;
      for (int k = 0; k < 4; ++k) sums[k] = _mm512_xor_si512(sums[k], _mm512_load_si512(at + 64 * k));
      if constexpr (kFetches) {
        // Beyond the end it fetches nothing: prefetch instructions do not fault.
        for (int k = 0; k < 4; ++k) _mm_prefetch(at + kFetchAhead + 64 * k, _MM_HINT_T1);
      }
    }
  }
  for (const __m512i& sum : sums) use(sum);
}

template <bool kFetches>
void read_ahead(const ReadParams& p) {
  const char* data = static_cast<const char*>(p.data);
  if (p.num_streams == 4) return read_all<4, kFetches>(data, p.bytes);
  if (p.num_streams == 2) return read_all<2, kFetches>(data, p.bytes);
  read_all<1, kFetches>(data, p.bytes);
}

}  // namespace

void read_streams(const ReadParams& p) { p.fetches_ahead ? read_ahead<true>(p) : read_ahead<false>(p); }

// The loops are written as instructions, see avx2/probes.cc. Twelve sums: two units with the longest latency,
// the six cycles of vdpbf16ps, need twelve.

double float32_fma_probe(int64_t iterations) {
  const __m512 a = _mm512_set1_ps(0.5f);
  const __m512 b = _mm512_set1_ps(0.25f);
  const __m512 zero = _mm512_setzero_ps();
  __m512 s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero, s8 = zero,
         s9 = zero, s10 = zero, s11 = zero;
  for (int64_t i = 0; i < iterations; ++i) {
    __asm__ volatile(
        "vfmadd231ps %12, %13, %0\n\t"
        "vfmadd231ps %12, %13, %1\n\t"
        "vfmadd231ps %12, %13, %2\n\t"
        "vfmadd231ps %12, %13, %3\n\t"
        "vfmadd231ps %12, %13, %4\n\t"
        "vfmadd231ps %12, %13, %5\n\t"
        "vfmadd231ps %12, %13, %6\n\t"
        "vfmadd231ps %12, %13, %7\n\t"
        "vfmadd231ps %12, %13, %8\n\t"
        "vfmadd231ps %12, %13, %9\n\t"
        "vfmadd231ps %12, %13, %10\n\t"
        "vfmadd231ps %12, %13, %11\n\t"
        : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7), "+v"(s8), "+v"(s9),
          "+v"(s10), "+v"(s11)
        : "v"(a), "v"(b));
  }
  return static_cast<double>(iterations) * 12 * 16 * 2;
}

double int8_vnni_probe(int64_t iterations) {
  const __m512i a = _mm512_set1_epi8(-3);
  const __m512i b = _mm512_set1_epi8(5);
  const __m512i zero = _mm512_setzero_si512();
  __m512i s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero, s8 = zero,
          s9 = zero, s10 = zero, s11 = zero;
  for (int64_t i = 0; i < iterations; ++i) {
    __asm__ volatile(
        "vpdpbusd %12, %13, %0\n\t"
        "vpdpbusd %12, %13, %1\n\t"
        "vpdpbusd %12, %13, %2\n\t"
        "vpdpbusd %12, %13, %3\n\t"
        "vpdpbusd %12, %13, %4\n\t"
        "vpdpbusd %12, %13, %5\n\t"
        "vpdpbusd %12, %13, %6\n\t"
        "vpdpbusd %12, %13, %7\n\t"
        "vpdpbusd %12, %13, %8\n\t"
        "vpdpbusd %12, %13, %9\n\t"
        "vpdpbusd %12, %13, %10\n\t"
        "vpdpbusd %12, %13, %11\n\t"
        : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7), "+v"(s8), "+v"(s9),
          "+v"(s10), "+v"(s11)
        : "v"(a), "v"(b));
  }
  return static_cast<double>(iterations) * 12 * 64 * 2;
}

// 0.5 and 0.25 in bfloat16.
double bfloat16_dot_probe(int64_t iterations) {
  const __m512i a = _mm512_set1_epi16(0x3f00);
  const __m512i b = _mm512_set1_epi16(0x3e80);
  const __m512 zero = _mm512_setzero_ps();
  __m512 s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero, s8 = zero,
         s9 = zero, s10 = zero, s11 = zero;
  for (int64_t i = 0; i < iterations; ++i) {
    __asm__ volatile(
        "vdpbf16ps %12, %13, %0\n\t"
        "vdpbf16ps %12, %13, %1\n\t"
        "vdpbf16ps %12, %13, %2\n\t"
        "vdpbf16ps %12, %13, %3\n\t"
        "vdpbf16ps %12, %13, %4\n\t"
        "vdpbf16ps %12, %13, %5\n\t"
        "vdpbf16ps %12, %13, %6\n\t"
        "vdpbf16ps %12, %13, %7\n\t"
        "vdpbf16ps %12, %13, %8\n\t"
        "vdpbf16ps %12, %13, %9\n\t"
        "vdpbf16ps %12, %13, %10\n\t"
        "vdpbf16ps %12, %13, %11\n\t"
        : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7), "+v"(s8), "+v"(s9),
          "+v"(s10), "+v"(s11)
        : "v"(a), "v"(b));
  }
  return static_cast<double>(iterations) * 12 * 32 * 2;
}

}  // namespace fathom::kernels::avx512
