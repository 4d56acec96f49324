// What the ceilings need to know of the machine: caches, nodes of memory and which CPUs belong to them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

// "0-3,8,10-11" as the kernel writes lists of CPUs; what does not parse ends the list.
std::vector<int> parse_cpu_list(std::string_view text);

struct Topology {
  std::vector<int> cpus;                // that this process may use, node by node, ascending inside a node
  int num_nodes = 1;                    // with at least one of them
  uint64_t last_level_cache_bytes = 0;  // all caches of level 3 (else 2) of those CPUs; 0: unknown
};

// root is put before every path of /sys, for tests.
Topology read_topology(const std::string& root = "");

}  // namespace fathom
