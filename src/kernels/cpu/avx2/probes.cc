#include "kernels/cpu/avx2/probes.h"

#include <immintrin.h>

namespace fathom::kernels::avx2 {
namespace {

// Makes the compiler believe that the value is used.
inline void use(__m256i v) { __asm__ volatile("" : : "x"(v)); }

template <int kStreams, bool kFetches>
void read_all(const char* data, int64_t bytes) {
  const int64_t part = bytes / kStreams;
  __m256i sums[4] = {};
  for (int64_t i = 0; i < part; i += kReadStepBytes) {
    for (int s = 0; s < kStreams; ++s) {
      const auto* at = reinterpret_cast<const __m256i*>(data + s * part + i);
      for (int k = 0; k < 8; ++k) sums[k % 4] = _mm256_xor_si256(sums[k % 4], _mm256_load_si256(at + k));
      if constexpr (kFetches) {
        // Beyond the end it fetches nothing: prefetch instructions do not fault.
        for (int k = 0; k < 4; ++k)
          _mm_prefetch(reinterpret_cast<const char*>(at) + kFetchAhead + 64 * k, _MM_HINT_T1);
      }
    }
  }
  for (const __m256i& sum : sums) use(sum);
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

// The loops are written as instructions: given intrinsics, the compiler keeps sums in memory when it runs out
// of registers, and the probe would measure that. Operands are numbered: sums first, then the rest.
namespace {

// What linear_int8.cc does with one line of weights and six rows, from registers. The sixteen: twelve sums
// (six rows, two halves of the line), a row's inputs, the widened halves, one product. The only chain from
// turn to turn is vpaddd, one cycle long.
struct Int8Sums {
  __m256i s[12];
};

// Twelve times vpmaddwd and vpaddd: half of a line's inputs for six rows.
inline __attribute__((always_inline)) void add_products(Int8Sums& sums, __m256i x, __m256i low,
                                                        __m256i high) {
  __m256i(&s)[12] = sums.s;
  __m256i product;
  __asm__ volatile(
      "vpmaddwd %13, %14, %12\n\t"
      "vpaddd %12, %0, %0\n\t"
      "vpmaddwd %13, %15, %12\n\t"
      "vpaddd %12, %1, %1\n\t"
      "vpmaddwd %13, %14, %12\n\t"
      "vpaddd %12, %2, %2\n\t"
      "vpmaddwd %13, %15, %12\n\t"
      "vpaddd %12, %3, %3\n\t"
      "vpmaddwd %13, %14, %12\n\t"
      "vpaddd %12, %4, %4\n\t"
      "vpmaddwd %13, %15, %12\n\t"
      "vpaddd %12, %5, %5\n\t"
      "vpmaddwd %13, %14, %12\n\t"
      "vpaddd %12, %6, %6\n\t"
      "vpmaddwd %13, %15, %12\n\t"
      "vpaddd %12, %7, %7\n\t"
      "vpmaddwd %13, %14, %12\n\t"
      "vpaddd %12, %8, %8\n\t"
      "vpmaddwd %13, %15, %12\n\t"
      "vpaddd %12, %9, %9\n\t"
      "vpmaddwd %13, %14, %12\n\t"
      "vpaddd %12, %10, %10\n\t"
      "vpmaddwd %13, %15, %12\n\t"
      "vpaddd %12, %11, %11\n\t"
      : "+x"(s[0]), "+x"(s[1]), "+x"(s[2]), "+x"(s[3]), "+x"(s[4]), "+x"(s[5]), "+x"(s[6]), "+x"(s[7]),
        "+x"(s[8]), "+x"(s[9]), "+x"(s[10]), "+x"(s[11]), "=&x"(product)
      : "x"(x), "x"(low), "x"(high));
}

}  // namespace

// A turn is a line of 4 inputs and 16 outputs: 6 shifts that widen it, 24 multiplies, 24 additions.
double int8_madd_probe(int64_t iterations) {
  const __m256i bytes = _mm256_set1_epi8(-3);  // the line's halves, and the row's inputs
  Int8Sums sums = {};
  for (int64_t i = 0; i < iterations; ++i) {
    __m256i low, high;
    __asm__ volatile(
        "vpsllw $8, %2, %0\n\t"
        "vpsllw $8, %2, %1\n\t"
        "vpsraw $8, %0, %0\n\t"
        "vpsraw $8, %1, %1\n\t"
        : "=&x"(low), "=&x"(high)
        : "x"(bytes));
    add_products(sums, bytes, low, high);
    __asm__ volatile(
        "vpsraw $8, %2, %0\n\t"
        "vpsraw $8, %2, %1\n\t"
        : "=&x"(low), "=&x"(high)
        : "x"(bytes));
    add_products(sums, bytes, low, high);
  }
  return static_cast<double>(iterations) * 6 * 16 * 4 * 2;
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
