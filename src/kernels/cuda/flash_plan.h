// A step's expanded attention: which keys are expanded together, and which queries a block takes. Host only.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "kernels/cuda/params.h"

namespace fathom::kernels::cuda {

// Keys that are expanded together, unless one sequence has more.
inline constexpr int64_t kPassKeys = int64_t{64} << 10;
// Bytes of keys and values that exist together, unless one head has more. Neither bound changes a bit.
inline constexpr int64_t kExpandedBytes = int64_t{256} << 20;

// A segment of a batch whose attention is expanded.
struct ExpandedSegment {
  int32_t first_row = 0;  // of q
  int32_t num_rows = 0;
  int32_t first_position = 0;
  int32_t page_table_start = 0;
};

// Sequences whose keys are expanded together: tiles [key_tiles_begin, key_tiles_end) and so on.
struct ExpandedPass {
  int64_t key_tiles_begin = 0;
  int64_t key_tiles_end = 0;
  int64_t query_tiles_begin = 0;
  int64_t query_tiles_end = 0;
  int64_t num_keys = 0;
};

struct ExpandedPlan {
  std::vector<KeyTile> key_tiles;
  std::vector<QueryTile> query_tiles;  // of a pass: those with the most keys first
  std::vector<ExpandedPass> passes;
};

inline void add_segment(const ExpandedSegment& segment, ExpandedPlan& plan) {
  ExpandedPass& pass = plan.passes.back();
  const auto first_key = static_cast<int32_t>(pass.num_keys);
  const int32_t num_keys = segment.first_position + segment.num_rows;
  constexpr auto kKeys = static_cast<int32_t>(kKeyBlock);
  for (int32_t begin = 0; begin < num_keys; begin += kKeys)
    plan.key_tiles.push_back(
        {segment.page_table_start, begin, std::min(kKeys, num_keys - begin), first_key + begin});
  constexpr auto kRows = static_cast<int32_t>(kQueryTile);
  for (int32_t begin = 0; begin < segment.num_rows; begin += kRows)
    plan.query_tiles.push_back({segment.first_row + begin, std::min(kRows, segment.num_rows - begin),
                                segment.first_position + begin, first_key});
  pass.num_keys += num_keys;
  pass.key_tiles_end = static_cast<int64_t>(plan.key_tiles.size());
  pass.query_tiles_end = static_cast<int64_t>(plan.query_tiles.size());
}

inline ExpandedPlan plan_expanded(std::span<const ExpandedSegment> segments) {
  ExpandedPlan plan;
  for (const ExpandedSegment& segment : segments) {
    const int64_t num_keys = segment.first_position + segment.num_rows;
    if (plan.passes.empty() || plan.passes.back().num_keys + num_keys > kPassKeys) {
      const auto key_tiles = static_cast<int64_t>(plan.key_tiles.size());
      const auto query_tiles = static_cast<int64_t>(plan.query_tiles.size());
      plan.passes.push_back({key_tiles, key_tiles, query_tiles, query_tiles, 0});
    }
    add_segment(segment, plan);
  }
  const auto last_position = [](const QueryTile& tile) { return tile.first_position + tile.num_rows; };
  for (const ExpandedPass& pass : plan.passes)
    std::stable_sort(
        plan.query_tiles.begin() + pass.query_tiles_begin, plan.query_tiles.begin() + pass.query_tiles_end,
        [&](const QueryTile& a, const QueryTile& b) { return last_position(a) > last_position(b); });
  return plan;
}

// How many of the heads of a pass are expanded together; head_bytes: of one key's key and value.
inline int64_t heads_together(int64_t num_keys, int64_t head_bytes, int64_t num_heads) {
  return std::clamp<int64_t>(kExpandedBytes / (num_keys * head_bytes), 1, num_heads);
}

}  // namespace fathom::kernels::cuda
