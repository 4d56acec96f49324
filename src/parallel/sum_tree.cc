#include "parallel/sum_tree.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace fathom {
namespace {

// Floats that go through the whole tree at once: what is between stays in the first-level cache.
constexpr int64_t kBlock = 256;

int middle_of(int begin, int end) {
  return begin + static_cast<int>(std::bit_floor(static_cast<unsigned>(end - begin - 1)));
}

void collect_pieces(const NodeLayout& layout, int begin, int end, std::vector<TreeBranch>& pieces) {
  const auto first = layout.node_of.begin() + begin;
  if (std::all_of(first, layout.node_of.begin() + end, [&](int node) { return node == *first; })) {
    pieces.push_back({begin, end});
    return;
  }
  const int middle = middle_of(begin, end);
  collect_pieces(layout, begin, middle, pieces);
  collect_pieces(layout, middle, end, pieces);
}

void add_block(const float* left, const float* right, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = left[i] + right[i];
}

}  // namespace

std::vector<TreeBranch> tree_pieces(const NodeLayout& layout) {
  std::vector<TreeBranch> pieces;
  collect_pieces(layout, 0, layout.size(), pieces);
  return pieces;
}

SumTree::SumTree(std::span<const TreeBranch> leaves) : num_leaves_(static_cast<int>(leaves.size())) {
  FATHOM_CHECK(!leaves.empty(), "a sum of nothing");
  build(leaves, leaves.front().begin, leaves.back().end);
}

int SumTree::build(std::span<const TreeBranch> leaves, int begin, int end) {
  for (size_t i = 0; i < leaves.size(); ++i)
    if (leaves[i] == TreeBranch{begin, end}) return static_cast<int>(i);
  FATHOM_CHECK(end - begin > 1, "rank {} is in no leaf", begin);
  const int middle = middle_of(begin, end);
  const int left = build(leaves, begin, middle);
  const int right = build(leaves, middle, end);
  adds_.push_back({left, right});
  return num_leaves_ + static_cast<int>(adds_.size()) - 1;
}

void SumTree::sum(std::span<const float* const> leaves, int64_t count, float* out) const {
  FATHOM_CHECK(static_cast<int>(leaves.size()) == num_leaves_, "{} leaves for {}", leaves.size(),
               num_leaves_);
  if (count == 0) return;
  if (adds_.empty()) {
    std::memcpy(out, leaves[0], static_cast<size_t>(count) * sizeof(float));
    return;
  }
  constexpr int kMostAdds = 63;
  FATHOM_CHECK(adds_.size() <= kMostAdds, "{} leaves in a sum", num_leaves_);
  alignas(64) float partial[kMostAdds][kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t size = std::min(kBlock, count - begin);
    const auto operand = [&](int index) -> const float* {
      return index < num_leaves_ ? leaves[static_cast<size_t>(index)] + begin : partial[index - num_leaves_];
    };
    for (size_t i = 0; i < adds_.size(); ++i) {
      float* target = i + 1 == adds_.size() ? out + begin : partial[i];
      add_block(operand(adds_[i].left), operand(adds_[i].right), size, target);
    }
  }
}

}  // namespace fathom
