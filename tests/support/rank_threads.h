// Several ranks in one process: threads that each have a communicator.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <vector>

#include "parallel/group_communicator.h"
#include "parallel/memory_transport.h"

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

}  // namespace fathom::testing
