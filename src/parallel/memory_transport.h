// Ranks as threads or as forked processes of one program, on as many pretended nodes as wanted: a transport
// over memory, for tests of everything above MPI.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstring>

#include "base/check.h"
#include "parallel/node_window.h"
#include "parallel/transport.h"

namespace fathom {

// What all ranks share. Made before they start.
class MemoryWorld {
 public:
  explicit MemoryWorld(std::vector<int> node_of) : node_of_(std::move(node_of)) {
    const size_t ranks = node_of_.size();
    message_bytes_ = ranks * NodeWindow::kSlotBytes;
    window_bytes_ = (NodeWindow::bytes_needed(static_cast<int>(ranks)) + 4095) / 4096 * 4096;
    num_bytes_ = ranks * window_bytes_ + ranks * ranks * 2 * box_bytes();
    void* memory = ::mmap(nullptr, num_bytes_, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FATHOM_CHECK(memory != MAP_FAILED, "mmap of {} bytes", num_bytes_);
    memory_ = static_cast<std::byte*>(memory);
  }
  ~MemoryWorld() { ::munmap(memory_, num_bytes_); }
  MemoryWorld(const MemoryWorld&) = delete;
  MemoryWorld& operator=(const MemoryWorld&) = delete;

  // Holds one message.
  struct Box {
    std::atomic<bool> full;
    size_t size;
    std::byte* bytes() { return reinterpret_cast<std::byte*>(this + 1); }
  };
  const std::vector<int>& node_of() const { return node_of_; }
  std::byte* window(int node) { return memory_ + static_cast<size_t>(node) * window_bytes_; }
  Box& box(int from, int to, Channel channel) {
    const size_t ranks = node_of_.size();
    const size_t index = (static_cast<size_t>(from) * ranks + static_cast<size_t>(to)) * 2 +
                         (channel == Channel::kBeat ? 1 : 0);
    return *reinterpret_cast<Box*>(memory_ + ranks * window_bytes_ + index * box_bytes());
  }
  size_t message_bytes() const { return message_bytes_; }

 private:
  size_t box_bytes() const { return sizeof(Box) + message_bytes_; }

  std::vector<int> node_of_;
  size_t message_bytes_;
  size_t window_bytes_;
  size_t num_bytes_;
  std::byte* memory_;
};

class MemoryTransport : public Transport {
 public:
  MemoryTransport(MemoryWorld& world, int rank) : world_(world), layout_{rank, world.node_of()} {}

  const NodeLayout& layout() const override { return layout_; }
  Result<std::span<std::byte>> make_window(size_t num_bytes) override {
    return std::span(world_.window(layout_.node()), num_bytes);
  }
  std::unique_ptr<Transfer> send(int to, Channel channel, std::span<const std::byte> bytes) override {
    FATHOM_CHECK(bytes.size() <= world_.message_bytes(), "a message of {} bytes", bytes.size());
    return std::make_unique<Send>(world_.box(layout_.rank, to, channel), bytes);
  }
  std::unique_ptr<Transfer> receive(int from, Channel channel, std::span<std::byte> bytes) override {
    return std::make_unique<Receive>(world_.box(from, layout_.rank, channel), bytes);
  }
  Status library_sum(std::span<float>) override { return unsupported("no library"); }
  void close() override {}

 private:
  struct Send : Transfer {
    Send(MemoryWorld::Box& to, std::span<const std::byte> from) : box(to), bytes(from) {}
    Result<bool> done() override {
      if (box.full.load(std::memory_order_acquire)) return false;
      std::memcpy(box.bytes(), bytes.data(), bytes.size());
      box.size = bytes.size();
      box.full.store(true, std::memory_order_release);
      return true;
    }
    MemoryWorld::Box& box;
    std::span<const std::byte> bytes;
  };
  struct Receive : Transfer {
    Receive(MemoryWorld::Box& from, std::span<std::byte> to) : box(from), bytes(to) {}
    Result<bool> done() override {
      if (!box.full.load(std::memory_order_acquire)) return false;
      FATHOM_CHECK(box.size == bytes.size(), "{} bytes for {}", box.size, bytes.size());
      std::memcpy(bytes.data(), box.bytes(), bytes.size());
      box.full.store(false, std::memory_order_release);
      return true;
    }
    MemoryWorld::Box& box;
    std::span<std::byte> bytes;
  };

  MemoryWorld& world_;
  NodeLayout layout_;
};

}  // namespace fathom
