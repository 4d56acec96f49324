#include "kernels/packed.h"

#include <string.h>

namespace fathom::kernels {
namespace {

// The row of the source that output j of the order's panel p is, or -1 beyond the last.
struct SourceRow {
  const void* matrix;
  int64_t row;
  bool is_second;
};

SourceRow source_row(const PackParams& p, int64_t panel, int64_t j) {
  const bool paired = p.order == PanelOrder::kGateUpPairs;
  const int64_t row = (paired ? panel / 2 : panel) * kPanelRows + j;
  const bool is_second = paired && panel % 2 == 1;
  return {is_second ? p.second : p.source, row < p.rows ? row : -1, is_second};
}

// Lines of 16 whole rows: each row gives 4 bytes to a line.
void pack_whole_lines(const void* const (&rows)[kPanelRows], int64_t num_lines, void* lines) {
  char* out = static_cast<char*>(lines);
  for (int64_t i = 0; i < num_lines; ++i) {
    for (int64_t j = 0; j < kPanelRows; ++j, out += 4)
      memcpy(out, static_cast<const char*>(rows[j]) + 4 * i, 4);
  }
}

template <typename Element>
void pack_panel(const PackParams& p, int64_t panel, Element* out) {
  constexpr int64_t kGroup = 4 / static_cast<int64_t>(sizeof(Element));
  const void* rows[kPanelRows];
  bool whole = p.source_col_stride == 1;
  for (int64_t j = 0; j < kPanelRows; ++j) {
    const SourceRow from = source_row(p, panel, j);
    rows[j] =
        from.row < 0 ? nullptr : static_cast<const Element*>(from.matrix) + from.row * p.source_row_stride;
    whole = whole && rows[j] != nullptr;
  }
  const int64_t whole_lines = whole ? p.cols / kGroup : 0;
  pack_whole_lines(rows, whole_lines, out);
  const int64_t padded = padded_inputs(p.cols, p.format);
  for (int64_t k = whole_lines * kGroup; k < padded; ++k) {
    for (int64_t j = 0; j < kPanelRows; ++j) {
      const bool inside = rows[j] != nullptr && k < p.cols;
      out[(k / kGroup * kPanelRows + j) * kGroup + k % kGroup] =
          inside ? static_cast<const Element*>(rows[j])[k * p.source_col_stride] : Element{};
    }
  }
}

template <typename Element>
void pack_typed(const PackParams& p) {
  const int64_t panel_elements = padded_inputs(p.cols, p.format) * kPanelRows;
  for (int64_t panel = p.begin; panel < p.end; ++panel) {
    pack_panel(p, panel, static_cast<Element*>(p.panels) + (panel - p.begin) * panel_elements);
  }
}

// The sums that take an activation's zero point out of a product.
void sum_inputs(const PackParams& p) {
  for (int64_t panel = p.begin; panel < p.end; ++panel) {
    for (int64_t j = 0; j < kPanelRows; ++j) {
      const SourceRow from = source_row(p, panel, j);
      int32_t sum = 0;
      if (from.row >= 0) {
        const auto* row = static_cast<const int8_t*>(from.matrix) + from.row * p.source_row_stride;
        for (int64_t k = 0; k < p.cols; ++k) sum += row[k * p.source_col_stride];
      }
      p.sums[(panel - p.begin) * kPanelRows + j] = sum;
    }
  }
}

// Nibbles of 8 inputs in their order, two's complement, become a line's word: q + 8, inputs 0 to 3 in the low
// nibbles of its bytes, 4 to 7 in the high ones.
uint32_t line_word(uint32_t nibbles) {
  uint32_t w = nibbles ^ 0x88888888u;
  w = (w & 0xff0000ffu) | (w & 0x00ff0000u) >> 8 | (w & 0x0000ff00u) << 8;
  return (w & 0xf00ff00fu) | (w & 0x0f000f00u) >> 4 | (w & 0x00f000f0u) << 4;
}

// The sum of q of a line's word.
int32_t word_sum(uint32_t word) {
  const uint32_t pairs = (word & 0x0f0f0f0fu) + (word >> 4 & 0x0f0f0f0fu);
  const uint32_t halves = (pairs & 0x00ff00ffu) + (pairs >> 8 & 0x00ff00ffu);
  return static_cast<int32_t>((halves & 0xffffu) + (halves >> 16)) - 64;
}

// One output's part of a superblock: 64 bytes of nibbles and 4 factors. Returns the sum of its weights.
int32_t pack_output(const uint8_t* nibbles, const uint8_t* factors, int64_t output, uint8_t* block) {
  int32_t sum = 0;
  for (int64_t g = 0; g < 4; ++g) {
    int32_t group_sum = 0;
    for (int64_t l = 4 * g; l < 4 * g + 4; ++l) {
      uint32_t word;
      memcpy(&word, nibbles + 4 * l, sizeof(word));
      word = line_word(word);
      memcpy(block + (1 + l) * kLineBytes + 4 * output, &word, sizeof(word));
      group_sum += word_sum(word);
    }
    block[g * kPanelRows + output] = factors[g];
    sum += factors[g] * group_sum;
  }
  return sum;
}

// What a superblock takes from one row, padded with zeros.
struct Int4Part {
  uint8_t nibbles[kSuperblockInputs / 2] = {};
  uint8_t factors[kSuperblockInputs / kInt4GroupInputs] = {};
};

Int4Part int4_part(const PackParams& p, const uint8_t* nibbles, const uint8_t* factors, int64_t first) {
  Int4Part part;
  const int64_t inputs = p.cols - first < kSuperblockInputs ? p.cols - first : kSuperblockInputs;
  memcpy(part.nibbles, nibbles + first / 2, static_cast<size_t>(inputs / 2));
  for (int64_t k = 0; k < inputs; k += kInt4GroupInputs) {
    part.factors[k / kInt4GroupInputs] = factors[(first + k) / p.group_size];
  }
  return part;
}

void pack_int4(const PackParams& p) {
  const int64_t bytes = panel_bytes(p.cols, p.format);
  const int64_t groups = (p.cols + p.group_size - 1) / p.group_size;
  for (int64_t panel = p.begin; panel < p.end; ++panel) {
    int32_t* sums = p.sums + (panel - p.begin) * kPanelRows;
    for (int64_t j = 0; j < kPanelRows; ++j) sums[j] = 0;
    auto* block = static_cast<uint8_t*>(p.panels) + (panel - p.begin) * bytes;
    for (int64_t first = 0; first < p.cols; first += kSuperblockInputs, block += kSuperblockBytes) {
      for (int64_t j = 0; j < kPanelRows; ++j) {
        const SourceRow from = source_row(p, panel, j);
        const uint8_t* factors = from.is_second ? p.second_factors : p.factors;
        const Int4Part part =
            from.row < 0 ? Int4Part{}
                         : int4_part(p, static_cast<const uint8_t*>(from.matrix) + from.row * (p.cols / 2),
                                     factors + from.row * groups, first);
        sums[j] += pack_output(part.nibbles, part.factors, j, block);
      }
    }
  }
}

}  // namespace

void pack_panels(const PackParams& p) {
  switch (p.format) {
    case PanelFormat::kInt8:
      pack_typed<int8_t>(p);
      if (p.sums != nullptr) sum_inputs(p);
      return;
    case PanelFormat::kBFloat16:
    case PanelFormat::kFloat16:
      pack_typed<uint16_t>(p);
      return;
    case PanelFormat::kInt4:
      pack_int4(p);
      return;
    default:
      pack_typed<float>(p);
  }
}

}  // namespace fathom::kernels
