// The memory that the ranks of one node share, and the one thing they do with it: meet. Before a meeting each
// rank writes its slot, after it all read all slots. Two sets of slots take turns, so that a meeting costs
// one wait: who writes a set again has met the others once more since they read it. No system calls and no
// MPI unless the wait is long.
//
// Also the node's notice of failure: the first rank found to be lost, with the reason, for all to see.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/wait_gate.h"
#include "parallel/patience.h"

namespace fathom {

enum class LossReason : uint8_t { kNone, kSilent, kEnded, kLeft, kReported };

// Why the group cannot go on. Plain data: it travels between nodes.
struct Loss {
  static constexpr size_t kTextBytes = 160;
  LossReason reason = LossReason::kNone;
  int32_t rank = 0;
  char text[kTextBytes] = {};  // of kReported, ends with 0

  void set_text(std::string_view words);  // cut to fit
};

// Thread rule: meet() and the slots from one thread, the beats and losses from any.
class NodeWindow {
 public:
  // A slot holds this many bytes. 256 KiB: with two ranks all slots fit the second-level caches.
  static constexpr size_t kSlotBytes = size_t{256} << 10;
  static size_t bytes_needed(int num_ranks);

  // memory: bytes_needed(), zeroed before the first of the ranks comes, outlives this. index in [0,
  // num_ranks).
  NodeWindow(std::span<std::byte> memory, int index, int num_ranks);

  int index() const { return index_; }
  int num_ranks() const { return num_ranks_; }

  // For the next meeting. The slots of all ranks lie one after another: where one rank alone writes, it may
  // write num_ranks() * kSlotBytes from slot 0 on.
  std::byte* slot_to_write(int index) { return slot(num_met_ + 1, index); }
  // Of the last meeting, until the one after the next.
  const std::byte* slot_met(int index) const { return slot(num_met_, index); }

  // What a meeting's ranks must agree on; a rank that comes for something else is at fault.
  enum class MeetResult : uint8_t { kMet, kLost, kDisagree };
  struct Meeting {
    MeetResult result = MeetResult::kMet;
    int index = 0;             // kDisagree: of the rank that came for something else
    uint64_t its_purpose = 0;  // kDisagree
  };
  // Waits until every rank of the node has come. purpose: what for.
  Meeting meet(uint64_t purpose);

  // Finds out whether the ranks have a CPU each, from their affinity masks, which decides how meet() waits.
  // All ranks call it together, once. kLost where one is lost meanwhile.
  MeetResult share_affinity();
  Crowding crowding() const { return crowding_; }

  // A sign of life.
  void beat() { line(index_).beat.fetch_add(1, std::memory_order_relaxed); }
  uint32_t beats_of(int index) const { return line(index).beat.load(std::memory_order_relaxed); }

  // The process of a rank; 0: not here yet, or not to be seen from this process's PID namespace.
  pid_t process_of(int index) const;

  // Makes a loss known to the node; only the first counts. Precondition: reason is not kNone.
  void report(const Loss& loss);
  std::optional<Loss> loss() const;
  bool is_lost() const { return head_->loss.load(std::memory_order_acquire) != 0; }

 private:
  struct Line {
    alignas(kCacheLineSpacing) std::atomic<uint64_t> num_met;  // meetings that this rank has come to
    std::atomic<uint64_t> purpose[2];                          // of the last two
    alignas(kCacheLineSpacing) std::atomic<uint32_t> beat;
    std::atomic<bool> text_taken;   // by a thread of this rank
    char text[Loss::kTextBytes];    // of the loss that this rank reported
    std::atomic<uint64_t> process;  // PID namespace, PID; 0: not here yet
    cpu_set_t affinity;
  };
  struct Head {
    alignas(kCacheLineSpacing) std::atomic<uint64_t> loss;  // reason, reporter's index, rank; 0: none
  };

  Line& line(int index) const { return lines_[index]; }
  std::byte* slot(uint64_t meeting, int index) const;
  bool wait_for(int index, uint64_t meeting);

  Head* head_;
  Line* lines_;
  std::byte* slots_;
  int index_;
  int num_ranks_;
  Crowding crowding_ = Crowding::kFewerCpus;  // until known
  uint64_t num_met_ = 0;
};

}  // namespace fathom
