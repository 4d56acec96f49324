// The tile instructions of tiles.h computed with AVX-512, bit for bit as Intel's manual defines them (volume
// 2: LDTILECFG, TILELOADD, TDPBUSD, TDPBF16PS). What raises a fault in hardware traps here. NaN payloads are
// those of AVX-512. For tests: some 500 cycles a product.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/amx/tiles.h"

namespace fathom::kernels::amx_emulated {

struct EmulatedTile {
  alignas(64) uint8_t row[kTileRows][kTileRowBytes];
};

struct EmulatedState {
  bool configured = false;
  TileConfig config;
  EmulatedTile tile[kNumTiles];
};

static inline EmulatedState& emulated_state() {
  static thread_local EmulatedState state;
  return state;
}

static inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

static inline void configure(const TileConfig& config) {
  require(config.palette == 1 && config.start_row == 0);
  for (uint8_t byte : config.reserved) require(byte == 0);
  for (int i = 0; i < 16; ++i) {
    const int rows = config.rows[i], bytes = config.row_bytes[i];
    require(rows <= kTileRows && bytes <= kTileRowBytes && (rows == 0) == (bytes == 0));
    require(i < kNumTiles || rows == 0);
  }
  EmulatedState& state = emulated_state();
  state.configured = true;
  state.config = config;
  memset(state.tile, 0, sizeof(state.tile));
}

static inline void release() { emulated_state() = EmulatedState{}; }

template <int kTile>
static inline EmulatedTile& used_tile() {
  static_assert(kTile >= 0 && kTile < kNumTiles);
  EmulatedState& state = emulated_state();
  require(state.configured && state.config.rows[kTile] > 0);
  return state.tile[kTile];
}

template <int kTile>
static inline void zero() {
  memset(&used_tile<kTile>(), 0, sizeof(EmulatedTile));
}

template <int kTile>
static inline void load(const void* rows, int64_t stride) {
  EmulatedTile& tile = used_tile<kTile>();
  const TileConfig& config = emulated_state().config;
  memset(&tile, 0, sizeof(tile));
  for (int64_t m = 0; m < config.rows[kTile]; ++m) {
    memcpy(tile.row[m], static_cast<const uint8_t*>(rows) + m * stride, config.row_bytes[kTile]);
  }
}

template <int kTile>
static inline void store(void* rows, int64_t stride) {
  const EmulatedTile& tile = used_tile<kTile>();
  const TileConfig& config = emulated_state().config;
  for (int64_t m = 0; m < config.rows[kTile]; ++m) {
    memcpy(static_cast<uint8_t*>(rows) + m * stride, tile.row[m], config.row_bytes[kTile]);
  }
}

// The shapes of a product: c [M, 4 N bytes] += a [M, 4 K bytes] b [K, 4 N bytes].
template <int kC, int kA, int kB>
static inline void require_product_shapes() {
  static_assert(kC != kA && kC != kB && kA != kB);
  const TileConfig& config = emulated_state().config;
  require(config.rows[kC] == config.rows[kA]);
  require(config.row_bytes[kC] == config.row_bytes[kB]);
  require(config.row_bytes[kA] == 4 * config.rows[kB]);
  require(config.row_bytes[kC] % 4 == 0);
}

template <int kC, int kA, int kB>
static inline void dot_int8_unsigned_signed() {
  EmulatedTile& c = used_tile<kC>();
  const EmulatedTile& a = used_tile<kA>();
  const EmulatedTile& b = used_tile<kB>();
  require_product_shapes<kC, kA, kB>();
  const TileConfig& config = emulated_state().config;
  for (int m = 0; m < config.rows[kC]; ++m) {
    __m512i sum = _mm512_load_si512(c.row[m]);
    for (int k = 0; k < config.rows[kB]; ++k) {
      int32_t bytes;
      memcpy(&bytes, a.row[m] + 4 * k, 4);
      sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(bytes), _mm512_load_si512(b.row[k]));
    }
    _mm512_store_si512(c.row[m], sum);
  }
}

// Not inlined: the compiler may move arithmetic across a change of MXCSR, but not across this call. Unused
// columns are zero in c and b and stay so.
[[maybe_unused]] __attribute__((noinline)) static void add_bf16_products(EmulatedTile& c,
                                                                         const EmulatedTile& a,
                                                                         const EmulatedTile& b, int rows_c,
                                                                         int rows_b) {
  const __m512i high_half = _mm512_set1_epi32(static_cast<int32_t>(0xffff0000u));
  for (int m = 0; m < rows_c; ++m) {
    __m512 even = _mm512_setzero_ps(), odd = even;
    for (int k = 0; k < rows_b; ++k) {
      int32_t pair;
      memcpy(&pair, a.row[m] + 4 * k, 4);
      const __m512i a_pair = _mm512_set1_epi32(pair);
      const __m512i b_pair = _mm512_load_si512(b.row[k]);
      even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a_pair, 16)),
                             _mm512_castsi512_ps(_mm512_slli_epi32(b_pair, 16)), even);
      odd = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a_pair, high_half)),
                            _mm512_castsi512_ps(_mm512_and_si512(b_pair, high_half)), odd);
    }
    const __m512 old = _mm512_load_ps(reinterpret_cast<const float*>(c.row[m]));
    _mm512_store_ps(reinterpret_cast<float*>(c.row[m]), _mm512_add_ps(old, _mm512_add_ps(even, odd)));
  }
}

template <int kC, int kA, int kB>
static inline void dot_bf16() {
  EmulatedTile& c = used_tile<kC>();
  const EmulatedTile& a = used_tile<kA>();
  const EmulatedTile& b = used_tile<kB>();
  require_product_shapes<kC, kA, kB>();
  const TileConfig& config = emulated_state().config;
  // The instruction does not look at MXCSR: round to nearest even, no exceptions, subnormal numbers zero on
  // both sides.
  constexpr unsigned kMasked = 0x1f80, kDenormalsAreZero = 0x0040, kFlushToZero = 0x8000;
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(kMasked | kDenormalsAreZero | kFlushToZero);
  add_bf16_products(c, a, b, config.rows[kC], config.rows[kB]);
  _mm_setcsr(saved);
}

}  // namespace fathom::kernels::amx_emulated
