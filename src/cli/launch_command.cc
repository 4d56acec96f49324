#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <memory>

#include "base/topology.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/supervise.h"
#include "parallel/launch_line.h"

namespace fathom {
namespace {

constexpr const char* kLaunchExamples = R"(Examples:
  fathom launch -n 2 -- fathom bench comm
  fathom launch --hosts a:8,b:8 --dry-run -- fathom bench comm
  MASTER_PORT=20031 fathom launch --rank-table ranks.json -- fathom bench comm
  fathom launch --rank-table ranks.json --node 16 2 0 10.0.0.1 -- fathom bench comm        and 16 2 8 on the other
  fathom launch -n 2 --restart 5 -- fathom serve MODEL

Ranks are numbered host by host; rank 0 alone writes to standard output. Without -n, --hosts or --rank-table there are
as many ranks as ASCEND_RT_VISIBLE_DEVICES or CUDA_VISIBLE_DEVICES has entries. Other hosts are reached by ssh and have
fathom at the same path. There MASTER_PORT (20030) and 1000 ports from MASTER_PORT + 1000 on must be open; jobs at
the same time need a MASTER_PORT each. Traffic between hosts is not encrypted.

The group ends as a whole: where a rank is lost the others name it and end, with a status that is not 0. --restart starts
it again then, N times in a row (a run of ten minutes is a new beginning), after 1 s, 2 s, 4 s ... 30 s. SIGTERM lets the
answers of `fathom serve` end, a second one does not.)";

// Handed on to other hosts; mpirun hands on everything on this one.
constexpr const char* kForwarded[] = {"FATHOM_",
                                      "ATB_",
                                      "HCCL_",
                                      "LCCL_",
                                      "ASCEND_RT_VISIBLE_DEVICES",
                                      "CUDA_VISIBLE_DEVICES",
                                      "INF_NAN_MODE_ENABLE",
                                      "LD_LIBRARY_PATH"};
constexpr const char* kDeviceLists[] = {"ASCEND_RT_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"};

struct LaunchFlags {
  int num_ranks = 0;
  std::string hosts;
  std::string rank_table;
  std::vector<std::string> node;  // empty, or the four words of NodeArguments
  bool dry_run = false;
  int num_restarts = 0;
  std::vector<std::string> command;
};

std::vector<std::string> forwarded_variables() {
  std::vector<std::string> names;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view name = std::string_view(*variable).substr(0, std::strcspn(*variable, "="));
    const bool wanted = std::any_of(std::begin(kForwarded), std::end(kForwarded),
                                    [&](const char* prefix) { return name.starts_with(prefix); });
    if (wanted) names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

int listed_devices() {
  for (const char* variable : kDeviceLists) {
    const char* list = std::getenv(variable);
    if (list != nullptr && *list != 0)
      return 1 + static_cast<int>(std::count(list, list + std::strlen(list), ','));
  }
  return 0;
}

Result<int> master_port() {
  const char* text = std::getenv("MASTER_PORT");
  if (text == nullptr) return LaunchOptions().port;
  char* end = nullptr;
  const long port = std::strtol(text, &end, 10);
  if (end == text || *end != 0 || port < 1 || port > 65'535)
    return invalid_argument("MASTER_PORT: \"{}\" is no port", text);
  return static_cast<int>(port);
}

Result<LaunchOptions> launch_options(const LaunchFlags& options) {
  LaunchOptions launch{.num_ranks = options.num_ranks};
  if (!options.hosts.empty()) {
    FATHOM_ASSIGN_OR_RETURN(launch.hosts, parse_hosts(options.hosts, "--hosts"));
  } else if (!options.rank_table.empty()) {
    FATHOM_ASSIGN_OR_RETURN(launch.hosts, read_rank_table(options.rank_table));
  }
  if (launch.num_ranks == 0)
    launch.num_ranks = launch.hosts.empty() ? listed_devices() : count_ranks(launch.hosts);
  if (launch.num_ranks == 0)
    return invalid_argument("launch: how many ranks? -n, --hosts or --rank-table says it");
  FATHOM_ASSIGN_OR_RETURN(launch.port, master_port());
  FATHOM_ASSIGN_OR_RETURN(const Topology topology, read_topology());
  launch.num_cores = static_cast<int>(std::count_if(topology.cpus.begin(), topology.cpus.end(),
                                                    [](const UsableCpu& cpu) { return cpu.sibling == 0; }));
  launch.num_numa_nodes = topology.num_nodes();
  launch.as_root = ::geteuid() == 0;
  launch.environment = forwarded_variables();
  launch.command = options.command;
  return launch;
}

// Whether this is another node than the first, which starts all.
Result<bool> is_started_elsewhere(const LaunchFlags& options, const std::vector<Host>& hosts) {
  if (options.node.empty()) return false;
  FATHOM_ASSIGN_OR_RETURN(const NodeArguments node, parse_node_arguments(options.node));
  FATHOM_RETURN_IF_ERROR(check_against_table(node, hosts, options.rank_table));
  if (node.node() == 0) return false;
  print_text(fmt::format("ranks {} to {} are started by the first node, {}\n", node.first_rank,
                         node.first_rank + node.ranks_per_node() - 1, node.master_address));
  return true;
}

Status run_launch(const LaunchFlags& options, int& exit_status) {
  FATHOM_ASSIGN_OR_RETURN(const LaunchOptions launch, launch_options(options));
  FATHOM_ASSIGN_OR_RETURN(const bool is_elsewhere, is_started_elsewhere(options, launch.hosts));
  if (is_elsewhere) return ok_status();
  FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string> words, mpirun_line(launch));
  if (options.dry_run) {
    print_text(shell_line(words) + "\n");
    return ok_status();
  }
  Result<int> status = supervise(words, options.num_restarts);
  if (status.status().code() == ErrorCode::kNotFound)
    return not_found("mpirun is not installed (Debian: apt-get install openmpi-bin)");
  FATHOM_ASSIGN_OR_RETURN(exit_status, std::move(status));
  return ok_status();
}

}  // namespace

void add_launch_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<LaunchFlags>();
  CLI::App* command = app.add_subcommand("launch", "run a command over several ranks, by mpirun");
  command->footer(kLaunchExamples);
  command->add_option("-n,--ranks", options->num_ranks, "how many ranks")->check(CLI::Range(1, 64));
  CLI::Option* hosts = command->add_option("--hosts", options->hosts, "hosts and their ranks: a:8,b:8");
  CLI::Option* table =
      command->add_option("--rank-table", options->rank_table, "the same from a rank table (JSON)")
          ->excludes(hosts);
  command
      ->add_option(
          "--node", options->node,
          "WORLD_SIZE NODES FIRST_RANK MASTER_ADDRESS, held against the table; only the first node starts")
      ->expected(4)
      ->needs(table);
  command
      ->add_option("--restart", options->num_restarts,
                   "start again where the group failed, so many times in a row")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command->add_flag("--dry-run", options->dry_run, "print the mpirun command and run nothing");
  command->add_option("COMMAND", options->command, "after --: the program and its arguments")->required();
  command->callback([options, &exit_status] {
    const Status status = run_launch(*options, exit_status);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
