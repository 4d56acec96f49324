// The engine as the I/O thread sees it: starts generations within the bounds of the queue, hands events to
// their listeners and counts. Everything here runs on the I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <variant>

#include "server/api_error.h"
#include "server/engine_thread.h"
#include "server/generation.h"
#include "server/limits.h"
#include "server/server_metrics.h"

namespace fathom {

class GenerationListener {
 public:
  virtual ~GenerationListener() = default;
  virtual void on_event(const GenerationEvent& event) = 0;
};

class EngineClient;

// A generation under way. Destroying it gives it up: the engine ends it before its next step.
class Generation {
 public:
  Generation(EngineClient& client, uint64_t ticket) : client_(&client), ticket_(ticket) {}
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

 private:
  EngineClient* client_;
  uint64_t ticket_;
};

enum class EnginePhase { kLoading, kReady, kDraining, kFailed };

class EngineClient {
 public:
  // metrics must outlive the client. max_running: sequences that the engine computes at once.
  EngineClient(const ServerLimits& limits, int64_t max_running, ServerMetrics& metrics);

  // The thread is made outside, because its callbacks come through the I/O thread's queue; null: it has
  // ended.
  void attach(EngineThread* thread) { thread_ = thread; }
  void set_phase(EnginePhase phase) { phase_ = phase; }
  // From now on the phase is kFailed, and clients are told this.
  void set_failed(ApiError error);
  EnginePhase phase() const { return phase_; }
  // What a client is told before a request; nullopt: it may come.
  std::optional<ApiError> refusal() const;

  // Refuses with 503 while not ready, with 429 where the queue is full. listener must outlive the Generation.
  std::variant<std::unique_ptr<Generation>, ApiError> start(GenerationRequest request,
                                                            GenerationListener& listener);
  void deliver(const EngineReport& report);

  // Ends everything under way; listeners get the ends as events.
  void cancel_all();
  // Called whenever the last generation has ended.
  void on_idle(std::function<void()> callback) { on_idle_ = std::move(callback); }

  // A sequence that the engine has taken up: its request's number, which counts up, and how far it is.
  struct Running {
    uint64_t ticket = 0;
    int64_t prompt_tokens = 0;
    int64_t output_tokens = 0;
  };
  // Those under way, the oldest first.
  std::vector<Running> running() const;
  int64_t max_running() const { return max_running_; }

  int64_t num_sequences() const { return num_sequences_; }
  int64_t num_waiting() const { return num_waiting_; }
  const EngineStatistics& statistics() const { return statistics_; }
  // The queue takes no more.
  bool is_full() const { return num_sequences_ >= capacity(); }
  bool is_hung() const;

 private:
  friend class Generation;
  struct Entry {
    GenerationListener* listener = nullptr;  // null: given up
    std::vector<SequenceTimes> sequences;
    size_t num_ended = 0;
  };

  int64_t capacity() const { return max_running_ + limits_.max_queue; }
  void give_up(uint64_t ticket);
  void observe(Entry& entry, const GenerationEvent& event);

  ServerLimits limits_;
  int64_t max_running_;
  ServerMetrics* metrics_;
  EngineThread* thread_ = nullptr;
  EnginePhase phase_ = EnginePhase::kLoading;
  ApiError failure_;  // of kFailed
  uint64_t next_ticket_ = 1;
  std::unordered_map<uint64_t, Entry> entries_;
  int64_t num_sequences_ = 0;  // not ended
  int64_t num_waiting_ = 0;    // of those, not started
  EngineStatistics statistics_;
  std::function<void()> on_idle_;
};

}  // namespace fathom
