// Several ranks in one process: threads that each have an engine.
#pragma once

#include <functional>

#include "support/engine.h"
#include "support/rank_threads.h"

namespace fathom::testing {

// Loads an engine on every rank and calls lead with rank 0's. One rank: without a communicator.
inline void with_ranks(int num_ranks, const EngineOptions& options,
                       const std::function<void(Engine&)>& lead) {
  if (num_ranks == 1) {
    const auto engine = load_engine(options);
    if (engine != nullptr) lead(*engine);
    return;
  }
  on_ranks(num_ranks, [&](int, Communicator& communicator) {
    EngineOptions mine = options;
    mine.communicator = &communicator;
    auto engine = load_engine(mine);
    if (engine == nullptr) return;
    if (engine->leads()) {
      lead(*engine);
    } else {
      const Status status = engine->follow();
      EXPECT_TRUE(status.ok()) << status.message();
    }
    engine.reset();
    EXPECT_TRUE(communicator.finish().ok());
  });
}

}  // namespace fathom::testing
