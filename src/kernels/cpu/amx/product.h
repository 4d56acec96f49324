// Products of two or four tiles with two: the inner loop of the linears and of attention's expansion.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/amx/tiles.h"

namespace fathom::kernels::FATHOM_AMX_NAMESPACE {

enum class Product : uint8_t { kInt8, kBFloat16 };

template <Product kProduct, int kC, int kA, int kB>
static inline void dot() {
  if constexpr (kProduct == Product::kInt8) {
    dot_int8_unsigned_signed<kC, kA, kB>();
  } else {
    dot_bf16<kC, kA, kB>();
  }
}

// Lines that will be read later, brought into the second-level cache a few at a time.
struct Prefetch {
  const uint8_t* next = nullptr;
  const uint8_t* end = nullptr;
  int64_t lines_per_step = 0;

  void step() {
    if (next >= end) return;
    for (int64_t i = 0; i < lines_per_step; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(next + 64 * i), _MM_HINT_T1);
    }
    next += 64 * lines_per_step;
  }
};

// c[i][j] = rows[i] panels[j] in tiles 2 i + j: rows of `steps` 64-byte pieces, row_stride bytes apart,
// panels of `steps` whole tiles. A step loads 4 tiles (64 lines, 32 cycles at two loads a cycle) for 4
// products (64 cycles), which do not depend on each other and so hide each other's latency of 52 cycles.
template <Product kProduct, int kRowTiles, int kPanels>
static inline void multiply(const uint8_t* const (&rows)[2], int64_t row_stride,
                            const uint8_t* const (&panels)[2], int64_t steps, Prefetch& prefetch) {
  Prefetch ahead = prefetch;  // a copy stays in registers
  zero<0>();
  if constexpr (kPanels > 1) zero<1>();
  if constexpr (kRowTiles > 1) zero<2>();
  if constexpr (kRowTiles > 1 && kPanels > 1) zero<3>();
  for (int64_t i = 0; i < steps; ++i) {
    load<4>(rows[0] + i * kTileRowBytes, row_stride);
    load<6>(panels[0] + i * kTileBytes, kTileRowBytes);
    dot<kProduct, 0, 4, 6>();
    if constexpr (kPanels > 1) {
      load<7>(panels[1] + i * kTileBytes, kTileRowBytes);
      dot<kProduct, 1, 4, 7>();
    }
    if constexpr (kRowTiles > 1) {
      load<5>(rows[1] + i * kTileRowBytes, row_stride);
      dot<kProduct, 2, 5, 6>();
      if constexpr (kPanels > 1) dot<kProduct, 3, 5, 7>();
    }
    ahead.step();
  }
  prefetch = ahead;
}

// The tiles of multiply(), one behind the other: tile 2 i + j at sums + (2 i + j) * kTileBytes.
template <int kRowTiles, int kPanels>
static inline void store_sums(void* sums) {
  auto* bytes = static_cast<uint8_t*>(sums);
  store<0>(bytes, kTileRowBytes);
  if constexpr (kPanels > 1) store<1>(bytes + kTileBytes, kTileRowBytes);
  if constexpr (kRowTiles > 1) store<2>(bytes + 2 * kTileBytes, kTileRowBytes);
  if constexpr (kRowTiles > 1 && kPanels > 1) store<3>(bytes + 3 * kTileBytes, kTileRowBytes);
}

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE
