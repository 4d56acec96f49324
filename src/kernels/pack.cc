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

// Copies one output's inputs into its column of a panel, Group at a time, zeros behind the last.
template <typename Element, int64_t kGroup>
void pack_row(const PackParams& p, const Element* row, Element* column) {
  const int64_t whole = p.source_col_stride == 1 ? p.cols / kGroup : 0;
  for (int64_t i = 0; i < whole; ++i) memcpy(column + i * kPanelRows * kGroup, row + i * kGroup, 4);
  const int64_t padded = padded_inputs(p.cols, p.format);
  for (int64_t k = whole * kGroup; k < padded; ++k) {
    column[k / kGroup * kPanelRows * kGroup + k % kGroup] =
        k < p.cols ? row[k * p.source_col_stride] : Element{};
  }
}

template <typename Element>
void pack_typed(const PackParams& p) {
  constexpr int64_t kGroup = 4 / static_cast<int64_t>(sizeof(Element));
  const int64_t panel_elements = padded_inputs(p.cols, p.format) * kPanelRows;
  for (int64_t panel = p.begin; panel < p.end; ++panel) {
    Element* out = static_cast<Element*>(p.panels) + (panel - p.begin) * panel_elements;
    if (source_row(p, panel, kPanelRows - 1).row < 0) {
      memset(out, 0, static_cast<size_t>(panel_elements) * sizeof(Element));
    }
    for (int64_t j = 0; j < kPanelRows; ++j) {
      const SourceRow from = source_row(p, panel, j);
      if (from.row < 0) break;
      pack_row<Element, kGroup>(p, static_cast<const Element*>(from.matrix) + from.row * p.source_row_stride,
                                out + j * kGroup);
    }
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
