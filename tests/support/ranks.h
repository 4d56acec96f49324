// Several ranks in one process: threads that each have an engine.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "parallel/group_communicator.h"
#include "parallel/memory_transport.h"
#include "support/engine.h"

namespace fathom::testing {

// Calls work(rank, communicator) on as many threads.
inline void on_ranks(int num_ranks, const std::function<void(int, Communicator&)>& work) {
  MemoryWorld world(std::vector<int>(static_cast<size_t>(num_ranks), 0));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < num_ranks; ++rank) {
    threads.emplace_back([&, rank] {
      MemoryTransport transport(world, rank);
      auto group = make_group_communicator(transport);
      if (!group.ok()) {
        ADD_FAILURE() << group.status().message();
        return;
      }
      work(rank, **group);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

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
