// The least time that a step of the engine could take on this machine, as its ceilings were when the model
// was loaded: what a service's steps are held against while it runs. A run that is to be judged closely is
// measured beside its ceilings instead (benchmark/model_bench.h).
#pragma once

#include "benchmark/roof.h"
#include "engine/engine.h"

namespace fathom {

class StepRoof {
 public:
  // Takes about `seconds`, and some hundred MB of memory meanwhile. Before the engine is loaded, with the
  // same options, of one rank. Failure: the folder, no memory, no threads.
  static Result<StepRoof> measure(const EngineOptions& options, double seconds);

  StepRoof(const ModelTraffic& traffic, const Moment& moment) : traffic_(traffic), moment_(moment) {}

  // 0 where a rate that is needed is unknown.
  double seconds(const StepWork& work) const;

 private:
  ModelTraffic traffic_;
  Moment moment_;
};

}  // namespace fathom
