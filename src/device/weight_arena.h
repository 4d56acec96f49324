// Memory for packed weights: large zeroed blocks of huge pages, one series per NUMA node, given back all
// together. A block's pages go to the node of the thread that writes them first.
#pragma once

#include <cstddef>
#include <vector>

#include "base/status.h"

namespace fathom {

class WeightArena {
 public:
  explicit WeightArena(int num_nodes) : nodes_(static_cast<size_t>(num_nodes)) {}
  ~WeightArena();
  WeightArena(const WeightArena&) = delete;
  WeightArena& operator=(const WeightArena&) = delete;

  // bytes of node's memory, 64-byte aligned; zeros. kResourceExhausted where the system has none.
  Result<std::byte*> allocate(int node, size_t bytes);

 private:
  struct Block {
    std::byte* data = nullptr;
    size_t bytes = 0;
  };
  struct Node {
    std::byte* next = nullptr;
    size_t left = 0;
  };
  std::vector<Block> blocks_;
  std::vector<Node> nodes_;
};

}  // namespace fathom
