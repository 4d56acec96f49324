// The model's collectives: sums and gathers over all ranks of what lies in a device's memory. Every rank
// calls the same operations in the same order with the same sizes. Orders and agreements, which lie on the
// host, are the Communicator's.
//
// However they travel, sums are added in the tree of parallel/sum_tree.h and so have the bits of
// Communicator::all_reduce_sum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "parallel/communicator.h"

namespace fathom {

// Thread rule: that of the backend. Operations are in the order of the backend's; what they give is valid for
// these, and on the host after read_back.
// Failure: as Communicator.
class DeviceCommunicator {
 public:
  virtual ~DeviceCommunicator() = default;

  const NodeLayout& layout() const { return host_.layout(); }
  int rank() const { return host_.rank(); }
  int size() const { return host_.size(); }

  // How many ranks, this one among them, have their weights and activations in the same memory.
  virtual int num_sharing_memory() const = 0;
  // values[i] becomes the sum over all ranks' values[i].
  virtual Status all_reduce_sum(float* values, int64_t count) = 0;
  // Rank r's part of all is bytes [starts[r], starts[r + 1]), which the others get from it. starts: size() +
  // 1, multiples of 4.
  virtual Status all_gather_parts(void* all, std::span<const size_t> starts) = 0;

 protected:
  // host outlives it.
  explicit DeviceCommunicator(Communicator& host) : host_(host) {}
  Communicator& host() const { return host_; }

 private:
  Communicator& host_;
};

}  // namespace fathom
