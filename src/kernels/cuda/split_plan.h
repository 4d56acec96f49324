// The splits of absorbed attention: which keys of which rows a block takes, and where their results are put.
// Host only.
#pragma once

#include <algorithm>
#include <bit>
#include <span>
#include <vector>

#include "kernels/cuda/params.h"

namespace fathom::kernels::cuda {

// Keys of a row's splits, from position 0 on: a pure function of the row's number of keys, so that its bits
// depend on its position alone. A split's partial result is R float32 a head, written once and read once,
// which beside L keys of 16 bits costs 64 / L of their bytes for 16 heads; but a lone row has only num_keys /
// L blocks. L grows with the root of num_keys: 256 up to 4,096 keys, 512 up to 16,384, 2,048 at 163,840.
inline int32_t split_length(int32_t num_keys) {
  auto length = static_cast<int32_t>(kKeySplit);
  while (length < kMaxKeySplit && num_keys > length * (length / 16)) length *= 2;
  return length;
}

// Rows that read the same keys together, at most: the next tokens of one sequence.
inline constexpr int32_t kMaxItemRows = 4;

// A row of a batch whose attention is absorbed.
struct SplitRow {
  int32_t row = 0;               // of the batch
  int32_t page_table_start = 0;  // of its segment
  int32_t position = 0;          // it sees keys [0, position]
};

// Rows of the batch one after another whose partial results fit together; SplitItem::row and all results are
// counted from the pass's first.
struct SplitPass {
  int32_t first_row = 0;
  int32_t num_rows = 0;
  int32_t first_item = 0;
  int32_t num_items = 0;
  int32_t first_result = 0;  // into SplitPlan::results
};

struct SplitPlan {
  std::vector<SplitItem> items;       // of a pass by row, then by position
  std::vector<SplitResults> results;  // [all passes' rows]
  std::vector<SplitPass> passes;
  int32_t max_item_rows = 1;  // rounded up to a power of two
};

// Items of a launch, rounded up to 2^k or 3 * 2^k: those that are left over have no keys. So steps whose
// contexts differ have the same launches.
inline int32_t item_bucket(int32_t num_items) {
  const auto size = static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(std::max(num_items, 1))));
  return size >= 4 && num_items <= size / 4 * 3 ? size / 4 * 3 : size;
}

namespace split_plan {

// How many of the rows from `first` on read the same keys: neighbours in one segment with equal splits.
inline int32_t count_together(std::span<const SplitRow> rows, size_t first) {
  const SplitRow& row = rows[first];
  const int32_t length = split_length(row.position + 1);
  int32_t count = 1;
  for (size_t i = first + 1; i < rows.size() && count < kMaxItemRows; ++i, ++count) {
    const bool follows = rows[i].row == row.row + count && rows[i].position == row.position + count &&
                         rows[i].page_table_start == row.page_table_start;
    if (!follows || split_length(rows[i].position + 1) != length) break;
  }
  return count;
}

inline int32_t num_splits(const SplitRow& row) {
  const int32_t length = split_length(row.position + 1);
  return (row.position + length) / length;
}

// Adds `count` rows that are read together to a pass with so many results.
inline void add_rows(std::span<const SplitRow> rows, int32_t num_results, SplitPlan& plan) {
  SplitPass& pass = plan.passes.back();
  const SplitRow& first = rows.front();
  const auto count = static_cast<int32_t>(rows.size());
  const int32_t num_keys = rows.back().position + 1;
  const int32_t length = split_length(num_keys);
  for (int32_t i = 0; i < count; ++i)
    plan.results.push_back({num_results + i, count, num_splits(rows[static_cast<size_t>(i)])});
  for (int32_t begin = 0; begin < num_keys; begin += length, num_results += count) {
    plan.items.push_back({.row = first.row - pass.first_row,
                          .num_rows = count,
                          .page_table_start = first.page_table_start,
                          .key_begin = begin,
                          .key_end = std::min(num_keys, begin + length),
                          .last_position = num_keys - 1,
                          .first_result = num_results});
    ++pass.num_items;
  }
  pass.num_rows += count;
  while (plan.max_item_rows < count) plan.max_item_rows *= 2;
}

}  // namespace split_plan

// Passes have at most max_results partial results, or one group of rows. The items of a plan of one pass, and
// so its launches, are padded to a bucket.
inline void plan_splits(std::span<const SplitRow> rows, int64_t max_results, SplitPlan& plan) {
  plan.items.clear();
  plan.results.clear();
  plan.passes.clear();
  plan.max_item_rows = 1;
  int32_t num_results = 0;
  for (size_t i = 0; i < rows.size();) {
    const int32_t count = split_plan::count_together(rows, i);
    const auto group = rows.subspan(i, static_cast<size_t>(count));
    const int32_t added = count * split_plan::num_splits(group.back());
    const bool follows = !plan.passes.empty() &&
                         group.front().row == plan.passes.back().first_row + plan.passes.back().num_rows;
    if (!follows || num_results + added > max_results) {
      plan.passes.push_back({.first_row = group.front().row,
                             .first_item = static_cast<int32_t>(plan.items.size()),
                             .first_result = static_cast<int32_t>(plan.results.size())});
      num_results = 0;
    }
    split_plan::add_rows(group, num_results, plan);
    num_results += added;
    i += static_cast<size_t>(count);
  }
  if (plan.passes.size() == 1) {
    plan.passes[0].num_items = item_bucket(plan.passes[0].num_items);
    plan.items.resize(static_cast<size_t>(plan.passes[0].num_items));
  }
}

// Partial results that a pass's launches may write: a function of what its launches depend on.
inline int64_t result_room(const SplitPlan& plan, const SplitPass& pass) {
  return int64_t{pass.num_items} * plan.max_item_rows;
}

}  // namespace fathom::kernels::cuda
