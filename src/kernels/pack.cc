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

constexpr int64_t kBlockGroups = kSuperblockInputs / kInt4GroupInputs;

// The words that one output has in the four lines of a group.
using GroupWords = uint32_t __attribute__((vector_size(16)));

// Nibbles of 8 inputs in their order, two's complement, become a line's word: q + 8, inputs 0 to 3 in the low
// nibbles of its bytes, 4 to 7 in the high ones.
GroupWords line_words(GroupWords nibbles) {
  GroupWords w = nibbles ^ 0x88888888u;
  w = (w & 0xff0000ffu) | (w & 0x00ff0000u) >> 8 | (w & 0x0000ff00u) << 8;
  return (w & 0xf00ff00fu) | (w & 0x0f000f00u) >> 4 | (w & 0x00f000f0u) << 4;
}

// The sum of a group's q.
int32_t sum_of(GroupWords words) {
  const GroupWords bytes = (words & 0x0f0f0f0fu) + (words >> 4 & 0x0f0f0f0fu);
  const uint32_t all = bytes[0] + bytes[1] + bytes[2] + bytes[3];  // at most 120 a byte
  const uint32_t halves = (all & 0x00ff00ffu) + (all >> 8 & 0x00ff00ffu);
  return static_cast<int32_t>((halves & 0xffffu) + (halves >> 16)) - 8 * 32;
}

// What a superblock takes from a row: inputs [first, first + inputs), and the row's factor for each 32 of
// them.
struct BlockPlace {
  int64_t first = 0;
  int64_t inputs = 0;
  int64_t num_groups = 0;
  int64_t factors[kBlockGroups] = {};
};

BlockPlace block_place(const PackParams& p, int64_t first) {
  BlockPlace place{.first = first};
  place.inputs = p.cols - first < kSuperblockInputs ? p.cols - first : kSuperblockInputs;
  for (int64_t k = 0; k < place.inputs; k += kInt4GroupInputs) {
    place.factors[place.num_groups++] = (first + k) / p.group_size;
  }
  return place;
}

// One output's part of a superblock. Returns the sum of its weights.
int32_t pack_output(const uint8_t* nibbles, const uint8_t* factors, const BlockPlace& place, int64_t output,
                    uint8_t* block) {
  GroupWords groups[kBlockGroups] = {};
  if (place.inputs == kSuperblockInputs) {
    memcpy(groups, nibbles + place.first / 2, sizeof(groups));
  } else {
    memcpy(groups, nibbles + place.first / 2, static_cast<size_t>(place.inputs / 2));
  }
  int32_t sum = 0;
  for (int64_t g = 0; g < kBlockGroups; ++g) {
    const GroupWords words = line_words(groups[g]);
    for (int64_t l = 0; l < 4; ++l) {
      const uint32_t word = words[l];
      memcpy(block + (1 + 4 * g + l) * kLineBytes + 4 * output, &word, sizeof(word));
    }
    const uint8_t factor = g < place.num_groups ? factors[place.factors[g]] : uint8_t{0};
    block[g * kPanelRows + output] = factor;
    sum += factor * sum_of(words);
  }
  return sum;
}

// An output beyond the last: zeros.
void pack_no_output(int64_t output, uint8_t* block) {
  const uint8_t zeros[kSuperblockInputs / 2] = {};
  pack_output(zeros, nullptr, {.inputs = kSuperblockInputs}, output, block);
}

void pack_int4(const PackParams& p) {
  const int64_t bytes = panel_bytes(p.cols, p.format);
  const int64_t factors_of_row = (p.cols + p.group_size - 1) / p.group_size;
  for (int64_t panel = p.begin; panel < p.end; ++panel) {
    int32_t* sums = p.sums + (panel - p.begin) * kPanelRows;
    for (int64_t j = 0; j < kPanelRows; ++j) sums[j] = 0;
    auto* block = static_cast<uint8_t*>(p.panels) + (panel - p.begin) * bytes;
    for (int64_t first = 0; first < p.cols; first += kSuperblockInputs, block += kSuperblockBytes) {
      const BlockPlace place = block_place(p, first);
      for (int64_t j = 0; j < kPanelRows; ++j) {
        const SourceRow from = source_row(p, panel, j);
        if (from.row < 0) {
          pack_no_output(j, block);
          continue;
        }
        const auto* nibbles = static_cast<const uint8_t*>(from.matrix) + from.row * (p.cols / 2);
        const uint8_t* factors = (from.is_second ? p.second_factors : p.factors) + from.row * factors_of_row;
        sums[j] += pack_output(nibbles, factors, place, j, block);
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
