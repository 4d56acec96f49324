// Which CPUs this process may use, on which NUMA node each lies, and which of them the threads of a team get.
// Nothing here pins a thread except pin_this_thread().
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom {

// A hardware thread.
struct UsableCpu {
  int cpu = 0;      // the system's number
  int node = 0;     // index into Topology::node_ids
  int sibling = 0;  // 0 for the first usable hardware thread of its core, 1 for the second, ...
};

struct Topology {
  // In placement order: by sibling, so that every core has a thread before one has two, then by node.
  std::vector<UsableCpu> cpus;
  // The system's numbers of the nodes that have usable CPUs; their indices here are the node indices
  // everywhere else.
  std::vector<int> node_ids;
  // All last-level caches that usable CPUs share; 0 where the system does not say.
  uint64_t last_level_cache_bytes = 0;

  int num_cpus() const { return static_cast<int>(cpus.size()); }
  int num_nodes() const { return static_cast<int>(node_ids.size()); }
};

// What read_topology() looks at.
struct TopologySource {
  std::string synthetic =
      "";  // "": this machine; else hwloc's description of one, "numa:2 core:4 pu:2", for tests
  std::vector<int> allowed = {};  // {}: the calling thread's affinity mask (synthetic: every CPU)
};

// The CPUs that are both present and allowed. An error where hwloc cannot tell or none is left.
Result<Topology> read_topology(const TopologySource& source = {});

// Where each thread of a team runs. Threads of one node are contiguous.
struct Placement {
  struct Thread {
    int cpu = -1;  // -1: floats
    int node = 0;  // in [0, num_nodes)
  };
  std::vector<Thread> threads;
  int num_nodes = 1;    // nodes that have threads
  bool pinned = false;  // false: every thread floats, on node 0

  int num_threads() const { return static_cast<int>(threads.size()); }
};

Placement floating_placement(int num_threads);

// num_threads >= 1 threads spread evenly over the nodes, cores before siblings, each on a CPU of its own. All
// float where there is one thread only, or where there are more threads than CPUs.
Placement choose_placement(const Topology& topology, int num_threads);

// The same on this machine, from the calling thread's affinity mask; all threads float where it cannot be
// read. A caller that a team has pinned (base/thread_team.h) has a mask of one CPU.
Placement choose_placement(int num_threads);

// The calling thread's affinity mask as a list of CPUs, ascending.
Result<std::vector<int>> affinity_of_this_thread();

// Restricts the calling thread to these CPUs. An error where the system refuses; the thread stays where it
// was.
Status pin_this_thread(std::span<const int> cpus);

}  // namespace fathom
