// Random values in large memory: what weights and caches look like to a kernel that is timed.
#pragma once

#include <cstdint>
#include <vector>

#include "benchmark/timed_team.h"
#include "device/aligned_buffer.h"
#include "device/weight_arena.h"
#include "device/work_share.h"
#include "kernels/params.h"
#include "tensor/dtype.h"

namespace fathom {

// Fills data, a multiple of 8 bytes, with values of dtype: any int8, uint8 below 16 (as factors of int4 are),
// floats of both signs between 2^-7 and 2^-6, so that sums stay finite and nothing is subnormal. Word i is a
// function of first_word + i.
void fill_random(std::byte* data, int64_t bytes, DType dtype, uint64_t first_word = 0);

// Rows of a latent cache, [rows.begin, rows.end) of it: `row` is the first of them.
void fill_latent_rows(const kernels::LatentCacheView& cache, std::byte* row, IndexRange rows);

// count random floats.
AlignedBuffer random_floats(int64_t count);

// Copies of one packed matrix, cut at panels into a part for each node as the backend cuts it.
struct PackedCopies {
  struct Node {
    const std::byte* data = nullptr;
    IndexRange panels;
    int64_t bytes = 0;  // of a copy
  };
  std::vector<Node> nodes = {};
  int64_t num_copies = 1;
  int64_t panel_bytes = 0;

  // Where panel 0 of the copy would be.
  const std::byte* panels(int64_t copy, int node) const {
    const Node& part = nodes[static_cast<size_t>(node)];
    return part.data + copy * part.bytes - part.panels.begin * panel_bytes;
  }
};

// Memory for panels of weights, spread over the nodes that the team has threads on.
class WeightPool {
 public:
  // Borrows the team.
  explicit WeightPool(TimedTeam& team);

  // Once. Failure: no memory.
  Status reserve(uint64_t bytes);
  uint64_t bytes() const { return node_bytes_ * node_data_.size(); }
  uint64_t node_bytes() const { return node_bytes_; }

  void fill(DType format);
  // As many copies of num_panels panels as there is room for. Precondition: there is for one, on each node.
  PackedCopies cut(int64_t num_panels, int64_t step, int64_t panel_bytes) const;

 private:
  TimedTeam& team_;
  std::vector<NodeSeat> seats_;
  WeightArena arena_;
  std::vector<std::byte*> node_data_;
  uint64_t node_bytes_ = 0;
};

}  // namespace fathom
