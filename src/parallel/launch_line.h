// The mpirun command that starts a program over several ranks.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/rank_table.h"

namespace fathom {

struct LaunchOptions {
  int num_ranks = 1;
  std::vector<Host> hosts = {};  // empty: this machine alone; else they have num_ranks together
  // Between hosts: mpirun's daemons listen on this port, ranks on ports from port + kRankPorts on. Jobs at
  // the same time need a port each.
  int port = 20030;
  // Of every host; ranks are bound to a NUMA domain each, or to a share of the cores, or float where there
  // are more ranks than cores.
  int num_cores = 1;
  int num_numa_nodes = 1;
  bool as_root = false;
  std::vector<std::string> environment = {};  // names of variables to hand on to other hosts
  std::vector<std::string> command = {};
};

inline constexpr int kRankPorts = 1000;

// The argument vector. Only rank 0's standard output is kept. Failure: no command, a number out of range, or
// hosts that have not num_ranks ranks.
Result<std::vector<std::string>> mpirun_line(const LaunchOptions& options);

// The line for a shell, words quoted where they need it.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace fathom
