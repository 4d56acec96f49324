// What the ranks of a group say to each other: the collectives of tensor parallelism. Every rank calls the
// same operations in the same order with the same sizes. No model, no tensors: bytes and floats.
//
// Sums are the same bits on every rank and in every run, however the ranks are spread over nodes and whoever
// arrives first: element by element along one binary tree over the ranks in rank order (parallel/sum_tree.h).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom {

// Which ranks share memory. Nodes are numbered in the order of their lowest ranks.
struct NodeLayout {
  int rank = 0;
  std::vector<int> node_of = {0};  // by rank

  // Of the ranks' nodes: node_of[rank] is in [0, num_nodes()).
  int num_nodes() const;
  int size() const { return static_cast<int>(node_of.size()); }
  int node() const { return node_of[static_cast<size_t>(rank)]; }
  // Ascending; the first is the node's leader.
  std::vector<int> ranks_of(int node) const;
  // This rank's place among those of its node.
  int local_rank() const;
};

// Thread rule: one thread at a time.
// Failure of any operation: a rank that died, stopped, left or failed, or that is at another
// operation. The message names the rank: "rank 1 on node 0 is lost: its process has ended". A group that has
// failed stays so: the process ends its work, it cannot go on without a rank.
class Communicator {
 public:
  virtual ~Communicator() = default;

  const NodeLayout& layout() const { return layout_; }
  int rank() const { return layout_.rank; }
  int size() const { return layout_.size(); }

  // Returns when every rank has called it.
  virtual Status barrier() = 0;
  // root's bytes to all ranks; the span has the same size on each.
  virtual Status broadcast(std::span<std::byte> bytes, int root) = 0;
  // values[i] becomes the sum over all ranks' values[i]; the same count on each.
  virtual Status all_reduce_sum(std::span<float> values) = 0;
  // all becomes the ranks' mine in rank order; all.size() == mine.size() * size(), the same on each.
  virtual Status all_gather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
  // The same of parts of any size, where they lie: rank r's part of all is [starts[r], starts[r + 1]), which
  // the others get from it. starts: size() + 1, the same on each.
  virtual Status all_gather_parts(std::span<std::byte> all, std::span<const size_t> starts) = 0;

  // Whether the group can go on, as far as this rank knows by now. Any thread.
  virtual Status health() const = 0;
  // The rank that a failed group misses; nullopt: none. Any thread.
  virtual std::optional<int> lost_rank() const = 0;
  // Tells the group that this rank cannot go on, and why: the others' operations fail with its number and
  // this text, of which they see 160 bytes.
  virtual void fail(const std::string& reason) = 0;
  // Ends the group in good order: returns when every rank has called it. Nothing may follow. A rank that is
  // destroyed without it has failed for the others.
  virtual Status finish() = 0;

 protected:
  explicit Communicator(NodeLayout layout) : layout_(std::move(layout)) {}

 private:
  NodeLayout layout_;
};

// A group of one.
std::unique_ptr<Communicator> make_solo_communicator();

}  // namespace fathom
