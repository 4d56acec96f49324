#include "kernels/cpu/avx2/probes.h"

#include <immintrin.h>

namespace fathom::kernels::avx2 {
namespace {

// Makes the compiler believe that the value is used.
inline void use(__m256i v) { __asm__ volatile("" : : "x"(v)); }

template <int kStreams>
void read_all(const char* data, int64_t bytes) {
  const int64_t part = bytes / kStreams;
  __m256i sums[4] = {};
  for (int64_t i = 0; i < part; i += kReadStepBytes) {
    for (int s = 0; s < kStreams; ++s) {
      const auto* at = reinterpret_cast<const __m256i*>(data + s * part + i);
      for (int k = 0; k < 8; ++k) sums[k % 4] = _mm256_xor_si256(sums[k % 4], _mm256_load_si256(at + k));
    }
  }
  for (const __m256i& sum : sums) use(sum);
}

}  // namespace

void read_streams(const ReadParams& p) {
  const char* data = static_cast<const char*>(p.data);
  if (p.num_streams == 4) return read_all<4>(data, p.bytes);
  if (p.num_streams == 2) return read_all<2>(data, p.bytes);
  read_all<1>(data, p.bytes);
}

// The loops are written as instructions: given intrinsics, the compiler keeps sums in memory when it runs out
// of registers, and the probe would measure that. Operands are numbered: sums first, then the rest.

// The sixteen registers: eight sums, three for what is under way, activation, weight, the weight's magnitude,
// ones. The only chain from turn to turn is vpaddd, one cycle long.
double int8_dot_probe(int64_t iterations) {
  const __m256i x = _mm256_set1_epi8(5);
  const __m256i weight = _mm256_set1_epi8(-3);
  const __m256i magnitude = _mm256_set1_epi8(3);
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i zero = _mm256_setzero_si256();
  __m256i s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero;
  __m256i t0, t1, t2;
  for (int64_t i = 0; i < iterations; ++i) {
    __asm__ volatile(
        "vpsignb %12, %11, %8\n\t"
        "vpmaddubsw %8, %13, %8\n\t"
        "vpmaddwd %14, %8, %8\n\t"
        "vpaddd %8, %0, %0\n\t"
        "vpsignb %12, %11, %9\n\t"
        "vpmaddubsw %9, %13, %9\n\t"
        "vpmaddwd %14, %9, %9\n\t"
        "vpaddd %9, %1, %1\n\t"
        "vpsignb %12, %11, %10\n\t"
        "vpmaddubsw %10, %13, %10\n\t"
        "vpmaddwd %14, %10, %10\n\t"
        "vpaddd %10, %2, %2\n\t"
        "vpsignb %12, %11, %8\n\t"
        "vpmaddubsw %8, %13, %8\n\t"
        "vpmaddwd %14, %8, %8\n\t"
        "vpaddd %8, %3, %3\n\t"
        "vpsignb %12, %11, %9\n\t"
        "vpmaddubsw %9, %13, %9\n\t"
        "vpmaddwd %14, %9, %9\n\t"
        "vpaddd %9, %4, %4\n\t"
        "vpsignb %12, %11, %10\n\t"
        "vpmaddubsw %10, %13, %10\n\t"
        "vpmaddwd %14, %10, %10\n\t"
        "vpaddd %10, %5, %5\n\t"
        "vpsignb %12, %11, %8\n\t"
        "vpmaddubsw %8, %13, %8\n\t"
        "vpmaddwd %14, %8, %8\n\t"
        "vpaddd %8, %6, %6\n\t"
        "vpsignb %12, %11, %9\n\t"
        "vpmaddubsw %9, %13, %9\n\t"
        "vpmaddwd %14, %9, %9\n\t"
        "vpaddd %9, %7, %7\n\t"
        : "+x"(s0), "+x"(s1), "+x"(s2), "+x"(s3), "+x"(s4), "+x"(s5), "+x"(s6), "+x"(s7), "=&x"(t0),
          "=&x"(t1), "=&x"(t2)
        : "x"(x), "x"(weight), "x"(magnitude), "x"(ones));
  }
  return static_cast<double>(iterations) * 8 * 32 * 2;
}

// Twelve sums: two units with a latency of four or five cycles need eight to ten.
double float32_fma_probe(int64_t iterations) {
  const __m256 a = _mm256_set1_ps(0.5f);
  const __m256 b = _mm256_set1_ps(0.25f);
  const __m256 zero = _mm256_setzero_ps();
  __m256 s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero, s8 = zero,
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
        : "+x"(s0), "+x"(s1), "+x"(s2), "+x"(s3), "+x"(s4), "+x"(s5), "+x"(s6), "+x"(s7), "+x"(s8), "+x"(s9),
          "+x"(s10), "+x"(s11)
        : "x"(a), "x"(b));
  }
  return static_cast<double>(iterations) * 12 * 8 * 2;
}

}  // namespace fathom::kernels::avx2
