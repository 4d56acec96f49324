#include "parallel/node_window.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/check.h"

namespace fathom {
namespace {

constexpr int kReasonShift = 56;
constexpr int kReporterShift = 32;

// This process as others can tell whether they see it under the same number. 0: the system does not say.
uint64_t own_process() {
  struct stat pid_namespace;
  if (::stat("/proc/self/ns/pid", &pid_namespace) != 0) return 0;
  return static_cast<uint64_t>(pid_namespace.st_ino) << 32 | static_cast<uint32_t>(::getpid());
}

}  // namespace

void Loss::set_text(std::string_view words) {
  const size_t size = std::min(words.size(), kTextBytes - 1);
  std::memcpy(text, words.data(), size);
  text[size] = 0;
}

size_t NodeWindow::bytes_needed(int num_ranks) {
  const size_t ranks = static_cast<size_t>(num_ranks);
  return sizeof(Head) + ranks * sizeof(Line) + 2 * ranks * kSlotBytes + kCacheLineSpacing;
}

NodeWindow::NodeWindow(std::span<std::byte> memory, int index, int num_ranks)
    : index_(index), num_ranks_(num_ranks) {
  FATHOM_CHECK(memory.size() >= bytes_needed(num_ranks), "a window of {} bytes", memory.size());
  static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);
  // Processes may see the window at different addresses; all are whole pages.
  void* start = memory.data();
  size_t space = memory.size();
  std::align(kCacheLineSpacing, bytes_needed(num_ranks) - kCacheLineSpacing, start, space);
  head_ = static_cast<Head*>(start);
  lines_ = reinterpret_cast<Line*>(head_ + 1);
  slots_ = reinterpret_cast<std::byte*>(lines_ + num_ranks);
  line(index_).process.store(own_process());
}

std::byte* NodeWindow::slot(uint64_t meeting, int index) const {
  const uint64_t set = meeting & 1;
  return slots_ + (set * static_cast<uint64_t>(num_ranks_) + static_cast<uint64_t>(index)) * kSlotBytes;
}

bool NodeWindow::wait_for(int index, uint64_t meeting) {
  const std::atomic<uint64_t>& num_met = line(index).num_met;
  Patience patience(crowding_);
  while (num_met.load(std::memory_order_acquire) < meeting) {
    // It may have come before the loss of another rank was noticed.
    if (is_lost()) return num_met.load(std::memory_order_acquire) >= meeting;
    patience.rest();
  }
  return true;
}

NodeWindow::Meeting NodeWindow::meet(uint64_t purpose) {
  const uint64_t meeting = num_met_ + 1;
  Line& mine = line(index_);
  mine.purpose[meeting & 1].store(purpose, std::memory_order_relaxed);
  mine.num_met.store(meeting, std::memory_order_release);
  for (int i = 0; i < num_ranks_; ++i)
    if (i != index_ && !wait_for(i, meeting)) return {MeetResult::kLost};
  // A rank overwrites its purpose only in the meeting after the next, to which it cannot go without this one.
  for (int i = 0; i < num_ranks_; ++i) {
    const uint64_t its = line(i).purpose[meeting & 1].load(std::memory_order_relaxed);
    if (its != purpose) return {MeetResult::kDisagree, i, its};
  }
  num_met_ = meeting;
  return {};
}

NodeWindow::MeetResult NodeWindow::share_affinity() {
  cpu_set_t& mine = line(index_).affinity;
  CPU_ZERO(&mine);
  ::sched_getaffinity(0, sizeof mine, &mine);
  const MeetResult result = meet(0).result;
  if (result != MeetResult::kMet) return result;
  cpu_set_t all;
  CPU_ZERO(&all);
  for (int i = 0; i < num_ranks_; ++i) CPU_OR(&all, &all, &line(i).affinity);
  crowding_ = CPU_COUNT(&all) < num_ranks_ ? Crowding::kFewerCpus : Crowding::kCpuPerRank;
  return result;
}

pid_t NodeWindow::process_of(int index) const {
  const uint64_t its = line(index).process.load(), mine = line(index_).process.load();
  return its >> 32 == mine >> 32 ? static_cast<pid_t>(its & 0xffff'ffff) : 0;
}

void NodeWindow::report(const Loss& loss) {
  FATHOM_CHECK(loss.reason != LossReason::kNone, "no reason");
  Line& mine = line(index_);
  // The text is written once, before the word that leads to it.
  if (mine.text_taken.exchange(true)) return;
  std::memcpy(mine.text, loss.text, sizeof mine.text);
  uint64_t none = 0;
  head_->loss.compare_exchange_strong(none, static_cast<uint64_t>(loss.reason) << kReasonShift |
                                                static_cast<uint64_t>(index_) << kReporterShift |
                                                static_cast<uint32_t>(loss.rank));
}

std::optional<Loss> NodeWindow::loss() const {
  const uint64_t word = head_->loss.load(std::memory_order_acquire);
  if (word == 0) return std::nullopt;
  Loss loss;
  loss.reason = static_cast<LossReason>(word >> kReasonShift);
  loss.rank = static_cast<int32_t>(static_cast<uint32_t>(word));
  const int reporter = static_cast<int>((word >> kReporterShift) & 0xffff);
  std::memcpy(loss.text, line(reporter).text, sizeof loss.text);
  loss.text[Loss::kTextBytes - 1] = 0;
  return loss;
}

}  // namespace fathom
