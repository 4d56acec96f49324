#include "server/health_probe.h"

#include <utility>

#include "base/clock.h"
#include "server/generation_exchange.h"

namespace fathom {

constexpr int32_t kFirstOfAll =
    -1000;  // the priority of a probe: it says whether the engine works, not how busy it is

std::shared_ptr<Exchange> HealthProbe::ask(int32_t token, double timeout, Done done) {
  if (client_.is_hung()) {
    done({.outcome = ProbeOutcome::kFailed, .message = "the engine makes no progress"});
    return nullptr;
  }
  if (generation_ == nullptr) {
    GenerationRequest request;
    request.prompts = {{token}};
    request.priority = kFirstOfAll;
    request.sampling.temperature = 0;
    request.sampling.max_tokens = 1;
    request.sampling.ignore_eos = true;
    auto started = client_.start(std::move(request), *this);
    if (const auto* error = std::get_if<ApiError>(&started)) {
      const bool busy = error->status == 429;
      done({.outcome = busy ? ProbeOutcome::kBusy : ProbeOutcome::kFailed, .message = error->message});
      return nullptr;
    }
    generation_ = std::get<std::unique_ptr<Generation>>(std::move(started));
  }
  auto waiting = std::make_shared<Waiting>();
  waiting->deadline = monotonic_seconds() + timeout;
  waiting->done = std::move(done);
  waiting_.push_back(waiting);
  return waiting;
}

void HealthProbe::tick(double now) {
  std::erase_if(waiting_, [now](const std::weak_ptr<Waiting>& entry) {
    const auto waiting = entry.lock();
    if (waiting == nullptr) return true;
    if (now < waiting->deadline) return false;
    waiting->done({.outcome = ProbeOutcome::kTimeout, .message = "the engine made no token in time"});
    return true;
  });
}

void HealthProbe::on_event(const GenerationEvent& event) {
  if (!event.ends()) return;
  generation_.reset();
  if (event.finish_reason == FinishReason::kError || event.finish_reason == FinishReason::kCancelled) {
    return resolve({.outcome = ProbeOutcome::kFailed, .message = error_of_event(event).message});
  }
  resolve({});
}

void HealthProbe::resolve(const ProbeResult& result) {
  for (const auto& entry : std::exchange(waiting_, {})) {
    if (const auto waiting = entry.lock()) waiting->done(result);
  }
}

}  // namespace fathom
