#include "base/topology.h"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <tuple>

#include "base/check.h"

namespace fathom {
namespace {

struct DestroyTopology {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using HwlocTopology = std::unique_ptr<hwloc_topology, DestroyTopology>;

Result<HwlocTopology> load_topology(const std::string& synthetic) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return io_error("hwloc cannot be started");
  HwlocTopology topology(raw);
  if (!synthetic.empty()) {
    if (hwloc_topology_set_synthetic(raw, synthetic.c_str()) != 0)
      return invalid_argument("hwloc does not understand the topology \"{}\"", synthetic);
  } else {
    // hwloc's own look at the CPUs would move this thread over all of them; what the system says is enough.
    hwloc_topology_set_flags(raw, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING);
  }
  if (hwloc_topology_load(raw) != 0) return io_error("hwloc cannot read the topology");
  return topology;
}

// The core a hardware thread belongs to; itself where the system names no cores.
hwloc_obj_t core_of(hwloc_topology_t topology, hwloc_obj_t pu) {
  hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, pu);
  return core != nullptr ? core : pu;
}

// Where several kinds of memory are local to a CPU, the first, which is its ordinary memory.
int node_id_of(hwloc_obj_t pu) { return std::max(0, hwloc_bitmap_first(pu->nodeset)); }

// The caches of the highest level there is that hold data of one of these CPUs.
uint64_t last_level_cache_bytes(hwloc_topology_t topology, const std::vector<UsableCpu>& cpus) {
  const auto is_used = [&](hwloc_obj_t cache) {
    return std::any_of(cpus.begin(), cpus.end(), [&](const UsableCpu& cpu) {
      return hwloc_bitmap_isset(cache->cpuset, static_cast<unsigned>(cpu.cpu)) != 0;
    });
  };
  for (hwloc_obj_type_t level : {HWLOC_OBJ_L4CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE}) {
    uint64_t bytes = 0;
    hwloc_obj_t cache = nullptr;
    while ((cache = hwloc_get_next_obj_by_type(topology, level, cache)) != nullptr) {
      if (is_used(cache)) bytes += cache->attr->cache.size;
    }
    if (bytes > 0) return bytes;
  }
  return 0;
}

}  // namespace

Result<Topology> read_topology(const TopologySource& source) {
  FATHOM_ASSIGN_OR_RETURN(const HwlocTopology loaded, load_topology(source.synthetic));
  std::vector<int> allowed = source.allowed;
  const bool all_allowed = allowed.empty() && !source.synthetic.empty();
  if (allowed.empty() && source.synthetic.empty()) {
    FATHOM_ASSIGN_OR_RETURN(allowed, affinity_of_this_thread());
  }
  Topology topology;
  std::map<hwloc_obj_t, int> used_of_core;
  hwloc_obj_t pu = nullptr;
  while ((pu = hwloc_get_next_obj_by_type(loaded.get(), HWLOC_OBJ_PU, pu)) != nullptr) {
    const int cpu = static_cast<int>(pu->os_index);
    if (!all_allowed && std::find(allowed.begin(), allowed.end(), cpu) == allowed.end()) continue;
    const int node_id = node_id_of(pu);
    auto node = std::find(topology.node_ids.begin(), topology.node_ids.end(), node_id);
    if (node == topology.node_ids.end()) node = topology.node_ids.insert(node, node_id);
    topology.cpus.push_back({.cpu = cpu,
                             .node = static_cast<int>(node - topology.node_ids.begin()),
                             .sibling = used_of_core[core_of(loaded.get(), pu)]++});
  }
  if (topology.cpus.empty()) return not_found("none of the machine's CPUs is in this thread's affinity mask");
  // hwloc goes through the CPUs by place, so that those of a core and of a package lie together.
  std::stable_sort(topology.cpus.begin(), topology.cpus.end(), [](const UsableCpu& a, const UsableCpu& b) {
    return std::tie(a.sibling, a.node) < std::tie(b.sibling, b.node);
  });
  topology.last_level_cache_bytes = last_level_cache_bytes(loaded.get(), topology.cpus);
  return topology;
}

Placement floating_placement(int num_threads) {
  FATHOM_CHECK(num_threads >= 1, "num_threads {}", num_threads);
  Placement placement;
  placement.threads.resize(static_cast<size_t>(num_threads));
  return placement;
}

Placement choose_placement(const Topology& topology, int num_threads) {
  if (num_threads <= 1 || num_threads > topology.num_cpus()) return floating_placement(num_threads);
  std::vector<std::vector<UsableCpu>> free(static_cast<size_t>(topology.num_nodes()));
  for (const UsableCpu& cpu : topology.cpus) free[static_cast<size_t>(cpu.node)].push_back(cpu);
  // One thread after the other goes to the node that still has an idle core, else to the one with siblings
  // left; among those to the one with the fewest threads. Each node has a core to begin with, so the first
  // threads take a node each, and no node in [0, num_nodes) stays without one.
  std::vector<size_t> taken(free.size(), 0);
  for (int i = 0; i < num_threads; ++i) {
    const auto rank = [&](size_t node) {
      const bool full = taken[node] == free[node].size();
      return std::tuple(full, full ? 0 : free[node][taken[node]].sibling, taken[node]);
    };
    size_t best = 0;
    for (size_t node = 1; node < free.size(); ++node)
      if (rank(node) < rank(best)) best = node;
    ++taken[best];
  }
  Placement placement;
  placement.pinned = true;
  for (size_t node = 0; node < free.size(); ++node) {
    for (size_t i = 0; i < taken[node]; ++i)
      placement.threads.push_back({.cpu = free[node][i].cpu, .node = static_cast<int>(node)});
  }
  placement.num_nodes = std::min(num_threads, topology.num_nodes());
  return placement;
}

Placement choose_placement(int num_threads) {
  if (num_threads <= 1) return floating_placement(num_threads);
  const Result<Topology> topology = read_topology();
  return topology.ok() ? choose_placement(*topology, num_threads) : floating_placement(num_threads);
}

Result<std::vector<int>> affinity_of_this_thread() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (::sched_getaffinity(0, sizeof(mask), &mask) != 0)
    return io_error("cannot read the CPU affinity mask: {}", std::strerror(errno));
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  return cpus;
}

Status pin_this_thread(std::span<const int> cpus) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (int cpu : cpus) {
    if (cpu < 0 || cpu >= CPU_SETSIZE)
      return invalid_argument("CPU {} is outside [0, {})", cpu, int{CPU_SETSIZE});
    CPU_SET(cpu, &mask);
  }
  if (::sched_setaffinity(0, sizeof(mask), &mask) != 0)
    return io_error("cannot restrict a thread to {} CPUs: {}", cpus.size(), std::strerror(errno));
  return ok_status();
}

}  // namespace fathom
