// Panels of int4 as panels of int8. Shared with the AMX kernels; static like all helpers.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "kernels/params.h"

namespace fathom::kernels::avx512 {

// How far ahead of its use packed int4 is asked for where much is computed between loads: the processor's
// window then ends before the next lines. On a Zen 4, one core, 8 rows of 2048 went from 7.8 to 12.0 GB/s and
// 17 rows from 4.5 to 5.0; up to 4 rows are slower with it, 32.4 to 27 GB/s for one (2026-11-24).
inline constexpr int64_t kPrefetchBytes = 2 * kSuperblockBytes;

// factor * q in each byte, from u = q + 8: u * factor stays below 256, so that one product of 16 bits holds
// two bytes' products, and factor * 8 is taken off byte by byte.
static inline __m512i int4_weights(__m512i u, __m512i factor_words, __m512i eights) {
  return _mm512_sub_epi8(_mm512_mullo_epi16(u, factor_words), eights);
}

// 7 operations and 2 stores for 128 weights.
static inline void expand_panel(const uint8_t* block, int64_t num_inputs, uint8_t* lines) {
  const __m512i low_nibbles = _mm512_set1_epi8(15);
  const int64_t num_groups = padded_inputs(num_inputs, PanelFormat::kInt8) / kInt4GroupInputs;
  const int64_t groups_of_block = kSuperblockInputs / kInt4GroupInputs;
  for (int64_t g = 0; g < num_groups; ++g) {
    const int64_t place = g % groups_of_block;
    const uint8_t* factor_line = block + g / groups_of_block * kSuperblockBytes;
    const uint8_t* nibbles = factor_line + (1 + 4 * place) * kLineBytes;
    const __m512i factors = _mm512_cvtepu8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(factor_line + place * kPanelRows)));
    const __m512i factor_words = _mm512_or_si512(factors, _mm512_slli_epi32(factors, 16));
    const __m512i eights = _mm512_mullo_epi16(factor_words, _mm512_set1_epi16(0x0808));
#pragma GCC unroll 4
    for (int64_t l = 0; l < 4; ++l, lines += 2 * kLineBytes) {
      _mm_prefetch(nibbles + l * kLineBytes + kPrefetchBytes, _MM_HINT_T0);
      const __m512i pair = _mm512_loadu_si512(nibbles + l * kLineBytes);
      const __m512i low = _mm512_and_si512(pair, low_nibbles);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(pair, 4), low_nibbles);
      _mm512_storeu_si512(lines, int4_weights(low, factor_words, eights));
      _mm512_storeu_si512(lines + kLineBytes, int4_weights(high, factor_words, eights));
    }
  }
}

// p with int8 panels in place of int4's: panels [begin, end), which p.scratch has room for.
static inline LinearParams expand_panels(const LinearParams& p, int64_t begin, int64_t end) {
  const int64_t packed_bytes = panel_bytes(p.num_inputs, PanelFormat::kInt4);
  const int64_t bytes = panel_bytes(p.num_inputs, PanelFormat::kInt8);
  auto* scratch = static_cast<uint8_t*>(p.scratch);
  for (int64_t panel = begin; panel < end; ++panel) {
    expand_panel(static_cast<const uint8_t*>(p.panels) + panel * packed_bytes, p.num_inputs,
                 scratch + (panel - begin) * bytes);
  }
  LinearParams expanded = p;
  expanded.panels = scratch - begin * bytes;
  expanded.format = PanelFormat::kInt8;
  expanded.begin = begin;
  expanded.end = end;
  return expanded;
}

}  // namespace fathom::kernels::avx512
