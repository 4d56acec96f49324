#include "parallel/liveness.h"

#include <algorithm>
#include <utility>

namespace fathom {
namespace {

std::span<const std::byte> bytes_of(const Loss& loss) { return std::as_bytes(std::span(&loss, 1)); }

}  // namespace

Liveness::Liveness(NodeWindow& window, Transport& transport, std::chrono::milliseconds silence_limit)
    : window_(window),
      transport_(transport),
      tick_(std::max(silence_limit / kTicksOfSilence, std::chrono::milliseconds(1))) {
  const NodeLayout& layout = transport.layout();
  const std::vector<int> ranks = layout.ranks_of(layout.node());
  for (int i = 0; i < window.num_ranks(); ++i)
    if (i != window.index()) neighbours_.push_back({.index = i, .rank = ranks[static_cast<size_t>(i)]});
  if (window.index() == 0) {
    for (int node = 0; node < layout.num_nodes(); ++node)
      if (node != layout.node()) leaders_.push_back({.rank = layout.ranks_of(node).front()});
  }
  thread_ = std::thread([this] { loop(); });
}

void Liveness::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stop_, true)) return;
  }
  wake_.notify_one();
  thread_.join();
  if (window_.loss()) last_words();
}

void Liveness::loop() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    tick();
    wake_.wait_for(lock, tick_, [this] { return stop_; });
  }
}

void Liveness::tick() {
  window_.beat();
  for (Neighbour& neighbour : neighbours_) watch(neighbour);
  for (OtherLeader& leader : leaders_) exchange_beats(leader);
}

void Liveness::lose(int rank, LossReason reason) { window_.report({.reason = reason, .rank = rank}); }

void Liveness::watch(Neighbour& neighbour) {
  if (!neighbour.process) {
    const pid_t process = window_.process_of(neighbour.index);
    if (process != 0) neighbour.process.emplace(process);
  }
  if (neighbour.process && neighbour.process->has_ended()) lose(neighbour.rank, LossReason::kEnded);
  const uint32_t beats = window_.beats_of(neighbour.index);
  neighbour.silent_ticks = beats == neighbour.beats ? neighbour.silent_ticks + 1 : 0;
  neighbour.beats = beats;
  if (neighbour.silent_ticks == kTicksOfSilence) lose(neighbour.rank, LossReason::kSilent);
}

// A broken connection shows as silence, like everything else that keeps beats away.
void Liveness::exchange_beats(OtherLeader& leader) {
  if (leader.send) {
    const Result<bool> done = leader.send->done();
    if (done.ok() && *done) leader.send.reset();
  }
  if (!leader.send) {
    leader.sent = window_.loss().value_or(Loss());
    leader.send = transport_.send(leader.rank, Channel::kBeat, bytes_of(leader.sent));
  }
  ++leader.silent_ticks;
  while (true) {
    if (!leader.receive) {
      leader.receive = transport_.receive(leader.rank, Channel::kBeat,
                                          std::as_writable_bytes(std::span(&leader.received, 1)));
    }
    const Result<bool> done = leader.receive->done();
    if (!done.ok() || !*done) break;
    leader.receive.reset();
    leader.silent_ticks = 0;
    if (leader.received.reason != LossReason::kNone) window_.report(leader.received);
  }
  // One tick more than inside a node: that the leader's own node has lost a rank is to arrive first.
  if (leader.silent_ticks == kTicksOfSilence + 1) lose(leader.rank, LossReason::kSilent);
}

// The others look once a tick.
void Liveness::last_words() {
  const Loss loss = *window_.loss();
  const auto end = std::chrono::steady_clock::now() + 2 * tick_;
  const auto sent = [&](OtherLeader& leader) {
    while (true) {
      const Result<bool> done = leader.send->done();
      if (done.ok() && *done) return true;
      if (!done.ok() || std::chrono::steady_clock::now() >= end) return false;
      std::this_thread::sleep_for(tick_ / 10);
    }
  };
  for (OtherLeader& leader : leaders_) {
    if (leader.rank == loss.rank || (leader.send && !sent(leader))) continue;
    leader.sent = loss;
    leader.send = transport_.send(leader.rank, Channel::kBeat, bytes_of(leader.sent));
    sent(leader);
  }
}

}  // namespace fathom
