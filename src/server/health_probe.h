// A token through the engine, as proof that it works. One probe is under way at a time, whoever asks. I/O
// thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "server/engine_client.h"
#include "server/http_message.h"

namespace fathom {

enum class ProbeOutcome {
  kWorks,
  kBusy,     // the queue is full
  kFailed,   // loading, draining, hung, or an error
  kTimeout,  // no token in time
};

struct ProbeResult {
  ProbeOutcome outcome = ProbeOutcome::kWorks;
  std::string message = {};  // of a failure
};

class HealthProbe : public GenerationListener {
 public:
  using Done = std::function<void(const ProbeResult&)>;

  // client must outlive the probe.
  explicit HealthProbe(EngineClient& client) : client_(client) {}

  // Calls done once: at once where there is nothing to wait for, else as long as the returned exchange lives.
  // token: one of the vocabulary.
  std::shared_ptr<Exchange> ask(int32_t token, double timeout, Done done);
  // Ends the waiting whose time is over.
  void tick(double now);
  void on_event(const GenerationEvent& event) override;

 private:
  struct Waiting : Exchange {
    double deadline = 0;
    Done done;
  };

  void resolve(const ProbeResult& result);

  EngineClient& client_;
  std::unique_ptr<Generation> generation_;
  std::vector<std::weak_ptr<Waiting>> waiting_;
};

}  // namespace fathom
