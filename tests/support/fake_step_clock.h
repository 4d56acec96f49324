// A clock for engines that shows what their work would have taken: so much a step, a token, and a token of
// the draft model. Times do not depend on the machine.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace fathom::testing {

struct StepPrices {
  double per_step = 1;
  double per_token = 0.1;
  double per_draft_model_token = 0.01;
};

class FakeStepClock {
 public:
  explicit FakeStepClock(const StepPrices& prices) : prices_(prices) {}

  // Before the engine is loaded: sets its clock, which must not outlive this one. watch() afterwards.
  void set(EngineOptions& options) {
    options.clock = [this] { return now(); };
  }
  void watch(const Engine& engine) { engine_ = &engine; }

  double now() const {
    if (engine_ == nullptr) return 0;
    const EngineStatistics statistics = engine_->statistics();
    return prices_.per_step * static_cast<double>(statistics.num_steps) +
           prices_.per_token * static_cast<double>(statistics.num_computed_tokens) +
           prices_.per_draft_model_token * static_cast<double>(statistics.speculation.num_draft_model_tokens);
  }

 private:
  StepPrices prices_;
  const Engine* engine_ = nullptr;
};

}  // namespace fathom::testing
