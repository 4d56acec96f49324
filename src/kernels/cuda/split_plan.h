// The splits of absorbed attention: which keys of which row a block takes. Host only.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "kernels/cuda/params.h"

namespace fathom::kernels::cuda {

// A row of a batch whose attention is absorbed.
struct SplitRow {
  int32_t row = 0;               // of q
  int32_t page_table_start = 0;  // of its segment
  int32_t position = 0;          // it sees keys [0, position]
};

struct SplitPlan {
  std::vector<SplitItem> items;       // by row, then by position
  std::vector<int32_t> first_splits;  // [rows + 1] into items
};

// Splits of kKeySplit keys from position 0 on: a row's splits depend on its own position alone.
inline SplitPlan plan_splits(std::span<const SplitRow> rows) {
  SplitPlan plan;
  plan.first_splits.push_back(0);
  for (const SplitRow& row : rows) {
    const int32_t num_keys = row.position + 1;
    for (int32_t begin = 0; begin < num_keys; begin += static_cast<int32_t>(kKeySplit)) {
      const int32_t end = std::min(num_keys, begin + static_cast<int32_t>(kKeySplit));
      plan.items.push_back({row.row, row.page_table_start, begin, end});
    }
    plan.first_splits.push_back(static_cast<int32_t>(plan.items.size()));
  }
  return plan;
}

}  // namespace fathom::kernels::cuda
