// Notices lost ranks. A thread of its own gives signs of life in this node's window and, on a node's leader,
// to the leaders of other nodes, and counts how long the others have given none: a rank that works for
// minutes is alive, one that is stopped or cut off is not. That a process of this node has ended is known
// within a tick. It counts its own ticks and not the clock, so that
// a machine that slept, or a whole job that was stopped and goes on, loses nobody.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "parallel/node_window.h"
#include "parallel/process_watch.h"
#include "parallel/transport.h"

namespace fathom {

class Liveness {
 public:
  // A rank is lost when it has given no sign of life for silence_limit. window and transport outlive this.
  // Throws std::system_error where the system refuses a thread.
  Liveness(NodeWindow& window, Transport& transport, std::chrono::milliseconds silence_limit);
  ~Liveness() { stop(); }
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  // Notices nothing any more. Where the group has failed, first tries for a moment to tell the other nodes.
  void stop();

 private:
  static constexpr int kTicksOfSilence = 10;

  struct Neighbour {  // on this node
    int index = 0;
    int rank = 0;
    uint32_t beats = 0;
    int silent_ticks = 0;
    std::optional<ProcessWatch> process = {};  // once it is known
  };
  struct OtherLeader {
    int rank = 0;
    int silent_ticks = 0;
    Loss sent = {};  // belongs to the transfer under way
    Loss received = {};
    std::unique_ptr<Transfer> send = {};
    std::unique_ptr<Transfer> receive = {};
  };

  void loop();
  void tick();
  void watch(Neighbour& neighbour);
  void exchange_beats(OtherLeader& leader);
  void last_words();
  void lose(int rank, LossReason reason);

  NodeWindow& window_;
  Transport& transport_;
  std::chrono::milliseconds tick_;
  std::vector<Neighbour> neighbours_;
  std::vector<OtherLeader> leaders_;  // empty unless this rank leads its node
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace fathom
