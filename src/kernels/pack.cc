#include "kernels/packed.h"

#include <string.h>

namespace fathom::kernels {
namespace {

// The row of the source that output j of the order's panel p is, or -1 beyond the last.
struct SourceRow {
  const void* matrix;
  int64_t row;
};

SourceRow source_row(const PackParams& p, int64_t panel, int64_t j) {
  const bool paired = p.order == PanelOrder::kGateUpPairs;
  const int64_t row = (paired ? panel / 2 : panel) * kPanelRows + j;
  return {paired && panel % 2 == 1 ? p.second : p.source, row < p.rows ? row : -1};
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

}  // namespace

void pack_panels(const PackParams& p) {
  switch (p.format) {
    case DType::kInt8:
      pack_typed<int8_t>(p);
      if (p.sums != nullptr) sum_inputs(p);
      return;
    case DType::kBFloat16:
    case DType::kFloat16:
      pack_typed<uint16_t>(p);
      return;
    default:
      pack_typed<float>(p);
  }
}

}  // namespace fathom::kernels
