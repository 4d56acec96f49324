// What the communicator needs from whoever starts the ranks (MPI): shared memory inside a node, messages
// between nodes. Not for the hot path inside a node, which is the communicator's own
// (parallel/node_window.h).
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/status.h"
#include "parallel/communicator.h"

namespace fathom {

// Messages of one channel between two ranks arrive in order.
enum class Channel { kData, kBeat };

// A message on its way. Its bytes belong to it until done() has said so. Destroyed before that, a receive is
// given up, and the bytes of a send may still be read until the transport is destroyed.
class Transfer {
 public:
  virtual ~Transfer() = default;
  // Never waits. Not called again once it has been true.
  virtual Result<bool> done() = 0;
};

// Thread rule: send(), receive() and done() from any thread, the rest from the one that made it.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual const NodeLayout& layout() const = 0;
  // num_bytes of zeroed memory that all ranks of this node share, as long as the transport lives. All ranks
  // call it together, those of a node with the same size.
  virtual Result<std::span<std::byte>> make_window(size_t num_bytes) = 0;
  virtual std::unique_ptr<Transfer> send(int to, Channel channel, std::span<const std::byte> bytes) = 0;
  virtual std::unique_ptr<Transfer> receive(int from, Channel channel, std::span<std::byte> bytes) = 0;
  // The library's own sum over all ranks, in its own order: for tests and measurements.
  virtual Status library_sum(std::span<float> values) = 0;
  // Ends in good order, all ranks together. A process that ends without it has failed.
  virtual void close() = 0;
};

}  // namespace fathom
