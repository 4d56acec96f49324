// The thread that owns the Engine: takes jobs and cancellations from a queue, steps while there is work, and
// reports what each step brought. It never waits for a client, only for work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "server/generation.h"
#include "server/submission.h"

namespace fathom {

struct GenerationJob {
  uint64_t ticket = 0;
  std::vector<PlannedPrompt> prompts;
  double queue_deadline = 0;  // monotonic seconds
  double total_deadline = 0;
};

struct EngineReport {
  std::vector<GenerationEvent> events;  // in the order in which they happened
  EngineStatistics statistics;
};

struct EngineFailure {
  Status status;
  bool rank_lost = false;  // that is the reason
};

class EngineThread {
 public:
  // Runs on the engine thread, as its compute threads belong to the thread that loads.
  using Loader = std::function<Result<std::unique_ptr<Engine>>()>;
  // Called on the engine thread; may not block.
  struct Callbacks {
    std::function<void(const Engine&)> loaded;  // its immutable parts may be read by others from now on
    std::function<void(EngineReport)> report;   // after a step, and when something else happened
    std::function<void(EngineFailure)> failed;  // loading or the engine failed: the last call
  };

  EngineThread(Loader loader, Callbacks callbacks);
  // Abandons what is under way after the current step, and joins.
  ~EngineThread();

  // Any thread. Jobs start in the order in which they come; the caller bounds their number.
  void submit(GenerationJob job);
  // Ends a job's choices before the next step; its events end without further ado. Unknown tickets are
  // ignored.
  void cancel(uint64_t ticket);
  // Seconds since the engine last got ahead; 0 while it has nothing to do.
  double seconds_without_progress() const;

 private:
  enum class ChoiceState : uint8_t { kPending, kQueued, kStarted, kEnded };
  struct Job {
    GenerationJob job;
    std::vector<RequestId> request_ids;  // of the prompts that are with the engine
    std::vector<ChoiceState> choices;    // by index
    size_t num_queued = 0;
    size_t num_ended = 0;

    ChoiceState& choice(const PlannedPrompt& prompt, int32_t i) {
      return choices[static_cast<size_t>(prompt.first_index + i)];
    }
  };
  struct Commands {
    std::vector<GenerationJob> jobs;
    std::vector<uint64_t> cancelled;
    bool stop = false;
  };
  enum class Admission { kDone, kWait };

  void run(const Loader& loader);
  Status serve();
  // Waits for commands where the engine has nothing to do, as long as it is in health; false: stop.
  Result<bool> take_commands();
  void accept(GenerationJob job);
  void cancel_now(uint64_t ticket, const Status& why, bool timed_out);
  void admit_pending();
  Admission admit(uint64_t ticket, Job& job);
  void take(uint64_t ticket, size_t prompt_index, const RequestEvent& event);
  void mark_started();
  void expire();
  void end_choice(uint64_t ticket, int32_t index);
  void start(uint64_t ticket, int32_t index, ChoiceState& state);
  // At the event's time, or now.
  void emit(uint64_t ticket, GenerationEvent event);
  void fail_all(const EngineFailure& failure);
  void forget_ended();
  void report();
  void beat();

  Callbacks callbacks_;
  std::unique_ptr<Engine> engine_;
  std::map<uint64_t, Job> jobs_;  // by ticket, which counts up
  std::deque<uint64_t> pending_;  // jobs with prompts that are not with the engine yet
  std::vector<uint64_t> ended_;   // jobs to forget
  EngineReport report_;

  std::mutex mutex_;
  std::condition_variable wake_;
  Commands commands_;  // guarded by mutex_
  double step_begin_ = 0;
  std::atomic<double> last_beat_{0};  // 0: idle
  std::thread thread_;
};

}  // namespace fathom
