// The frame of every AVX-512 linear: tiles of rows x panels whose sums stay in registers.
//
// Product says what a step is: how a 64-byte line of a panel (lines above each other go along k) meets the
// inputs of one row, and what the sums of a tile become. Every sum is taken in the order of k, whatever the
// tile. Panels are the outer loop, so that weights are read from memory once.
//
// Many rows: kRowTile x kPanelTile sums, one weight line and one broadcast fit 32 registers; a step of 6 x 4
// takes 4 line loads and 6 broadcasts for 24 products, so that the products and not the load ports are the
// limit. A panel tile stays in the L2 cache (4 panels of 2048 int8 inputs are 128 KiB) while all rows pass
// by, and the first tiles of rows prefetch the next four, one line a step (Ahead). On the Emerald Rapids
// below that took 20 rows of int8 from 360 to 281 us, 64 from 712 to 622.
//
// Few rows: one panel at a time, for then the weights are one sequential stream. How a processor is kept
// reading at the full bandwidth of memory meanwhile differs: see AmdStream and IntelStream.
#pragma once

#include "kernels/cpu/avx512/lanes.h"

namespace fathom::kernels::avx512 {

inline constexpr int64_t kRowTile = 6;
inline constexpr int64_t kPanelTile = 4;
// Rows up to which weights are streamed.
inline constexpr int64_t kStreamRows = 16;
// How far ahead lines are prefetched.
inline constexpr int64_t kPrefetchAhead = 8192;

// Zen 4: the hardware's prefetchers follow a stream well. With two cores that read 64 GB/s 1 to 8 rows took
// the weights at 67 to 69 GB/s, four panels side by side at 47 to 58, two at 60. From 5 rows on a line takes
// so many instructions that the processor does not see far enough ahead: prefetch instructions do it, and
// the second pass over a panel fetches the next one. That took 8 rows of int8 from 192 to 170 us and 16 rows
// from 290 to 212 us in the same run; fewer rows it slowed down (2026-11-24).
struct AmdStream {
  static constexpr int kRowTile = 8;         // rows that pass a panel together
  static constexpr int kPrefetchedRows = 5;  // from which on lines are prefetched
};

// Emerald Rapids without AMX, two cores that read 30 GB/s: prefetch instructions take 1 row of int8 from 26
// to 31 GB/s, 2 rows from 20 to 28, 4 rows from 19 to 27; 16 rows come at 20 GB/s in two passes and at 24 in
// one (2026-12-01).
struct IntelStream {
  static constexpr int kRowTile = 16;
  static constexpr int kPrefetchedRows = 1;
};

// Any other processor is taken for one whose prefetchers do it.
static inline bool is_intel() { return __builtin_cpu_is("intel"); }

// Writes 16 outputs of token t from column j on.
static inline void put(const LinearParams& p, int64_t t, int64_t j, __m512 value) {
  const __mmask16 lanes = first_lanes(p.num_outputs - j);
  float* y = p.y + (p.y_rows != nullptr ? p.y_rows[t] : t) * p.y_stride + j;
  if (p.bias != nullptr) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, p.bias + j));
  if (p.output == LinearParams::Output::kAdd) {
    value = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), value);
  } else if (p.output == LinearParams::Output::kAddWeighted) {
    const __m512 weighted = _mm512_mul_ps(_mm512_set1_ps(p.y_weights[t]), value);
    value = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), weighted);
  }
  _mm512_mask_storeu_ps(y, lanes, value);
}

// v of LinearParams from one or two exact sums of integers.
template <int kDigits>
static inline __m512 scale_sums(const LinearParams& p, int64_t t, int64_t panel, __m512 high, __m512 low) {
  __m512 value = high;
  if constexpr (kDigits == 2) value = _mm512_fmadd_ps(value, _mm512_set1_ps(kDigitBase), low);
  value = _mm512_mul_ps(value, _mm512_loadu_ps(p.weight_scales + panel * kPanelRows));
  return _mm512_mul_ps(value, _mm512_set1_ps(p.x_scales[t]));
}

// The outputs of one token in kPanels panels from `panel` on.
template <int kPanels>
static inline void put_panels(const LinearParams& p, int64_t t, int64_t panel,
                              const __m512 (&values)[kPanels]) {
  if constexpr (kPanels > 1) {
    if (p.output == LinearParams::Output::kSiluMul) {
      for (int i = 0; i < kPanels; i += 2) {
        put(p, t, (panel + i) / 2 * kPanelRows, silu_mul_lanes(values[i], values[i + 1], p.rounding));
      }
      return;
    }
  }
  for (int i = 0; i < kPanels; ++i) put(p, t, (panel + i) * kPanelRows, values[i]);
}

// What is read after the panels at hand: `bytes` from `next` on. Each tile prefetches a part.
struct Ahead {
  const char* next;
  int64_t bytes;

  void pass(int64_t done) {
    if (bytes <= done) return;  // the last part again: it costs little
    next += done;
    bytes -= done;
  }
};

// One tile: rows [row, row + kRows) of x, panels [panel, panel + kPanels).
template <typename Product, int kRows, int kPanels>
static inline __attribute__((always_inline)) void tile(const LinearParams& p, int64_t row, int64_t panel,
                                                       Ahead& ahead) {
  typename Product::Sum sums[kRows][kPanels];
  for (int m = 0; m < kRows; ++m) {
    for (int i = 0; i < kPanels; ++i) sums[m][i] = Product::zero();
  }
  const int64_t bytes = panel_bytes(p.num_inputs, Product::kFormat);
  const char* lines = static_cast<const char*>(p.panels) + panel * bytes;
  const char* x = static_cast<const char*>(p.x) + row * p.x_stride * Product::kInputBytes;
  const int64_t x_stride = p.x_stride * Product::kInputBytes;
  const int64_t num_lines = bytes / kLineBytes;
  const char* const fetched = ahead.next;
  ahead.pass(bytes);
  for (int64_t line = 0; line < num_lines; ++line) {
    typename Product::Line weights[kPanels];
    _mm_prefetch(fetched + line * kLineBytes, _MM_HINT_T1);
#pragma GCC unroll 8
    for (int i = 0; i < kPanels; ++i) weights[i] = Product::load(lines + i * bytes + line * kLineBytes);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const auto inputs = Product::broadcast(x + m * x_stride + line * Product::kInputsOfLine);
#pragma GCC unroll 8
      for (int i = 0; i < kPanels; ++i) sums[m][i] = Product::multiply(sums[m][i], weights[i], inputs);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; m += Product::kRowsOfToken) {
    __m512 values[kPanels];
    const int64_t t = (row + m) / Product::kRowsOfToken;
#pragma GCC unroll 8
    for (int i = 0; i < kPanels; ++i) {
      values[i] = Product::finish(p, t, panel + i, sums[m][i], sums[m + Product::kRowsOfToken - 1][i]);
    }
    put_panels(p, t, panel, values);
  }
}

template <typename Product, int kPanels>
static void rows_of_tile(const LinearParams& p, int64_t panel, Ahead ahead) {
  const int64_t num_rows = p.num_tokens * Product::kRowsOfToken;
  int64_t row = 0;
  for (; row + kRowTile <= num_rows; row += kRowTile) tile<Product, kRowTile, kPanels>(p, row, panel, ahead);
  switch (num_rows - row) {
    case 1:
      if constexpr (Product::kRowsOfToken == 1) tile<Product, 1, kPanels>(p, row, panel, ahead);
      return;
    case 2:
      tile<Product, 2, kPanels>(p, row, panel, ahead);
      return;
    case 3:
      if constexpr (Product::kRowsOfToken == 1) tile<Product, 3, kPanels>(p, row, panel, ahead);
      return;
    case 4:
      tile<Product, 4, kPanels>(p, row, panel, ahead);
      return;
    case 5:
      if constexpr (Product::kRowsOfToken == 1) tile<Product, 5, kPanels>(p, row, panel, ahead);
      return;
    default:
      return;
  }
}

// How a panel of lines is streamed. Another Stream has the same two members.
template <typename Product>
struct LineStream {
  static constexpr int kRowsOfToken = Product::kRowsOfToken;

  // The outputs of rows [row, row + kRows) in one panel, by token.
  template <typename Processor, int kRows>
  void rows(const LinearParams& p, int64_t row, int64_t panel, __m512* values) const {
    constexpr int kUnroll = 4;
    static_assert(kTileLines % kUnroll == 0);
    typename Product::Sum sums[kRows];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) sums[m] = Product::zero();
    const int64_t bytes = panel_bytes(p.num_inputs, Product::kFormat);
    const char* lines = static_cast<const char*>(p.panels) + panel * bytes;
    const char* x = static_cast<const char*>(p.x) + row * p.x_stride * Product::kInputBytes;
    const int64_t x_stride = p.x_stride * Product::kInputBytes;
    const int64_t num_lines = bytes / kLineBytes;
    Product::prefetch(p, panel);
    const char* const fetched = lines + (row == 0 ? kPrefetchAhead : bytes);
    for (int64_t first = 0; first < num_lines; first += kUnroll) {
#pragma GCC unroll 4
      for (int64_t line = first; line < first + kUnroll; ++line) {
        if constexpr (kRows >= Processor::kPrefetchedRows)
          _mm_prefetch(fetched + line * kLineBytes, _MM_HINT_T1);
        const typename Product::Line weights = Product::load(lines + line * kLineBytes);
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m) {
          sums[m] = Product::multiply(sums[m], weights,
                                      Product::broadcast(x + m * x_stride + line * Product::kInputsOfLine));
        }
      }
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m += kRowsOfToken) {
      const int64_t t = (row + m) / kRowsOfToken;
      values[m / kRowsOfToken] = Product::finish(p, t, panel, sums[m], sums[m + kRowsOfToken - 1]);
    }
  }
};

// The same for a number of rows that is not known before; at most kMostRows.
template <typename Processor, int kMostRows, typename Stream>
static inline void stream_some_rows(const Stream& stream, const LinearParams& p, int64_t row, int64_t count,
                                    int64_t panel, __m512* values) {
  if constexpr (kMostRows > Stream::kRowsOfToken) {
    if (count < kMostRows) {
      constexpr int kFewer = kMostRows - Stream::kRowsOfToken;
      return stream_some_rows<Processor, kFewer>(stream, p, row, count, panel, values);
    }
  }
  stream.template rows<Processor, kMostRows>(p, row, panel, values);
}

template <typename Processor, typename Stream>
static void stream_panels_on(const Stream& stream, const LinearParams& p) {
  const bool paired = p.output == LinearParams::Output::kSiluMul;
  const int64_t num_rows = p.num_tokens * Stream::kRowsOfToken;
  for (int64_t panel = p.begin; panel < p.end; panel += paired ? 2 : 1) {
    __m512 values[kStreamRows], ups[kStreamRows];
    for (int part = 0; part < (paired ? 2 : 1); ++part) {
      for (int64_t row = 0; row < num_rows; row += Processor::kRowTile) {
        const int64_t count = num_rows - row < Processor::kRowTile ? num_rows - row : Processor::kRowTile;
        stream_some_rows<Processor, Processor::kRowTile>(
            stream, p, row, count, panel + part, (part == 0 ? values : ups) + row / Stream::kRowsOfToken);
      }
    }
    const int64_t j = (paired ? panel / 2 : panel) * kPanelRows;
    for (int64_t t = 0; t < p.num_tokens; ++t) {
      put(p, t, j, paired ? silu_mul_lanes(values[t], ups[t], p.rounding) : values[t]);
    }
  }
}

// At most kStreamRows rows.
template <typename Stream>
static void stream_panels(const Stream& stream, const LinearParams& p) {
  if (is_intel()) {
    stream_panels_on<IntelStream>(stream, p);
  } else {
    stream_panels_on<AmdStream>(stream, p);
  }
}

// More rows than that, panels [begin, end). after: what is read after these panels.
template <typename Product>
static void tile_panels(const LinearParams& p, Ahead after) {
  const int64_t bytes = panel_bytes(p.num_inputs, Product::kFormat);
  const auto behind = [&](int64_t panel) {
    if (panel >= p.end) return after;
    const int64_t count = p.end - panel < kPanelTile ? p.end - panel : kPanelTile;
    return Ahead{static_cast<const char*>(p.panels) + panel * bytes, count * bytes};
  };
  int64_t panel = p.begin;
  for (; panel + kPanelTile <= p.end; panel += kPanelTile) {
    rows_of_tile<Product, kPanelTile>(p, panel, behind(panel + kPanelTile));
  }
  for (; panel + 2 <= p.end; panel += 2) rows_of_tile<Product, 2>(p, panel, behind(panel + 2));
  // A pair of gate and up is never cut.
  if (panel < p.end) rows_of_tile<Product, 1>(p, panel, after);
}

template <typename Product>
static void run_linear(const LinearParams& p) {
  if (p.num_tokens * Product::kRowsOfToken <= kStreamRows) {
    return stream_panels(LineStream<Product>{}, p);
  }
  // Whoever has these panels goes on with those behind them, more often than not.
  const int64_t bytes = panel_bytes(p.num_inputs, Product::kFormat);
  tile_panels<Product>(p, {static_cast<const char*>(p.panels) + p.end * bytes, kPanelTile * bytes});
}

}  // namespace fathom::kernels::avx512
