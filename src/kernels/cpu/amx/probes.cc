#include "kernels/cpu/amx/probes.h"

#include <immintrin.h>

namespace fathom::kernels::amx {
namespace {

constexpr int kTiles = 8;
constexpr int kRows = 16;
constexpr int kRowBytes = 64;

// The operand of ldtilecfg (Intel SDM, volume 1, table 18-1): palette 1, then row bytes and rows of up to
// sixteen tiles, of which the CPU has eight.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// The compiler's tile intrinsics do not say which memory they touch: everything written before must be in
// memory, and everything may have changed afterwards.
inline void memory_fence_for_compiler(const void* p) { __asm__ volatile("" : : "r"(p) : "memory"); }

// Four sums in tiles 0..3, two left operands in 4 and 5, two right ones in 6 and 7. A tile product takes 16
// cycles and its result is there after about 52: four sums in turn hide that.
void open_tiles(int16_t element) {
  TileConfig config;
  for (int t = 0; t < kTiles; ++t) {
    config.row_bytes[t] = kRowBytes;
    config.rows[t] = kRows;
  }
  alignas(64) int16_t operand[kRows * kRowBytes / 2];
  for (int16_t& value : operand) value = element;
  memory_fence_for_compiler(&config);
  memory_fence_for_compiler(operand);
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, operand, kRowBytes);
  _tile_loadd(5, operand, kRowBytes);
  _tile_loadd(6, operand, kRowBytes);
  _tile_loadd(7, operand, kRowBytes);
}

void close_tiles() {
  alignas(64) uint8_t result[kRows * kRowBytes];
  _tile_stored(0, result, kRowBytes);
  _tile_stored(1, result, kRowBytes);
  _tile_stored(2, result, kRowBytes);
  _tile_stored(3, result, kRowBytes);
  memory_fence_for_compiler(result);
  _tile_release();
}

}  // namespace

double int8_tile_probe(int64_t iterations) {
  open_tiles(0x0302);
  for (int64_t i = 0; i < iterations; ++i) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  close_tiles();
  // 16 rows by 16 columns of sums, each over 64 bytes.
  return static_cast<double>(iterations) * 4 * (16 * 16 * 64) * 2;
}

double bfloat16_tile_probe(int64_t iterations) {
  open_tiles(0x3f00);  // 0.5
  for (int64_t i = 0; i < iterations; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  close_tiles();
  return static_cast<double>(iterations) * 4 * (16 * 16 * 32) * 2;
}

}  // namespace fathom::kernels::amx
