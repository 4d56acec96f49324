// Tile registers: the few instructions of AMX that the kernels use, tile numbers as template arguments. With
// FATHOM_EMULATE_TILES the same names are computed by emulated_tiles.h, in a namespace of its own.
//
// Tiles belong to the thread. A kernel holds a TileScope while it uses them: configuring zeroes all eight,
// and releasing them at the end spares the operating system 8 KB at every switch away from an idle thread.
#pragma once

#include <stdint.h>

#ifdef FATHOM_EMULATE_TILES
#define FATHOM_AMX_NAMESPACE amx_emulated
#else
#define FATHOM_AMX_NAMESPACE amx
#endif

namespace fathom::kernels::FATHOM_AMX_NAMESPACE {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileRowBytes = 64;
inline constexpr int64_t kTileBytes = kTileRows * kTileRowBytes;
inline constexpr int kNumTiles = 8;

// The operand of ldtilecfg, palette 1.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE

#ifdef FATHOM_EMULATE_TILES
#include "kernels/cpu/amx/emulated_tiles.h"
#else

// Written as assembly because the compiler's intrinsics are macros that paste the tile's number as text, so
// that it could not be a template argument, and because GCC's _tile_loadd does not tell the compiler that it
// reads memory: stores before it could be dropped.
namespace fathom::kernels::amx {

static inline void configure(const TileConfig& config) { __asm__ volatile("ldtilecfg %0" : : "m"(config)); }

static inline void release() { __asm__ volatile("tilerelease"); }

template <int kTile>
static inline void zero() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

// Rows from memory, stride in bytes.
template <int kTile>
static inline void load(const void* rows, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(stride), "i"(kTile) : "memory");
}

template <int kTile>
static inline void store(void* rows, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(stride), "i"(kTile) : "memory");
}

// c[m][n] += sum over k, g of a[m][4 k + g] b[k][4 n + g] in int32: a unsigned bytes, b signed.
template <int kC, int kA, int kB>
static inline void dot_int8_unsigned_signed() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}

// c[m][n] += sum over k of a[m][2 k] b[k][2 n] + sum over k of a[m][2 k + 1] b[k][2 n + 1]: bf16 factors,
// each sum and the additions in float32; subnormal numbers count as zero everywhere.
template <int kC, int kA, int kB>
static inline void dot_bf16() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}

}  // namespace fathom::kernels::amx
#endif

namespace fathom::kernels::FATHOM_AMX_NAMESPACE {

// All eight tiles with the same number of rows of 64 bytes. The right-hand operand always has 16 rows, so
// fewer are for a left-hand operand (tiles 4, 5) and what it is added to (tiles 0 to 3).
class TileScope {
 public:
  explicit TileScope(int64_t left_rows = kTileRows) {
    TileConfig config;
    for (int tile = 0; tile < kNumTiles; ++tile) {
      config.row_bytes[tile] = kTileRowBytes;
      config.rows[tile] = static_cast<uint8_t>(tile < 6 ? left_rows : kTileRows);
    }
    configure(config);
  }
  ~TileScope() { release(); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

}  // namespace fathom::kernels::FATHOM_AMX_NAMESPACE
