#include "parallel/launch_line.h"

#include <algorithm>

namespace fathom {
namespace {

constexpr int kMostRanks = 64;
constexpr int kLowestPort = 1024;
constexpr int kHighestPort = 65'535 - 2 * kRankPorts;

// Stands between mpirun (on other hosts its daemon) and a rank.
// - Other ranks' results are rank 0's.
// - mpirun ends all ranks when one has ended badly. One that was killed it learns of late, so that rank 0 can
//   tell its clients before; those it had killed itself (INT, USR1, TERM) at once.
// - mpirun and its daemons wait for each other for ever where the network is cut between them. So whoever has
//   ended badly looks whether they have ended too, out of reach of mpirun, which kills groups of processes. One
//   that does not end when told leaves its folder of files to us.
constexpr const char* kRankShell = R"(trap : INT USR1 TERM
[ "$OMPI_COMM_WORLD_RANK" = 0 ] || exec >/dev/null
"$@"
status=$?
case $status in 0) exit 0;; 130|138|143) ;; *) [ $status -lt 128 ] || sleep 20;; esac
read -r daemon </proc/$PPID/comm
case $daemon in mpirun*|mpiexec*|orte*) ;; *) exit $status;; esac
setsid sh -c 'for second in 1 2 3 4 5 6 7 8 9 10; do kill -0 $0 || exit; sleep 1; done
for second in 1 3 5 7 9; do kill -TERM $0 || exit; sleep 2; done
kill -KILL $0; [ -z "$1" ] || { rm -rf "$1"; rmdir "${1%/*}"; }' $PPID "$PMIX_SERVER_TMPDIR" </dev/null >/dev/null 2>&1 &
exit $status)";

using Words = std::vector<std::string>;

void append(Words& words, std::initializer_list<std::string> more) { words.insert(words.end(), more); }

void add_binding(const LaunchOptions& options, Words& words) {
  int ranks = options.num_ranks;  // of the fullest host
  if (!options.hosts.empty()) {
    ranks = 0;
    for (const Host& host : options.hosts) ranks = std::max(ranks, host.num_ranks);
  }
  if (ranks > options.num_cores) {
    append(words, {"--oversubscribe", "--map-by", "slot", "--bind-to", "none"});
    append(words, {"--mca", "mpi_yield_when_idle", "1"});
  } else if (ranks <= options.num_numa_nodes) {
    append(words, {"--map-by", "slot", "--bind-to", ranks == 1 ? "none" : "numa"});
  } else {
    append(words, {"--map-by", fmt::format("slot:PE={}", options.num_cores / ranks), "--bind-to", "core"});
  }
}

void add_network(const LaunchOptions& options, Words& words) {
  if (options.hosts.empty()) {  // nothing listens to the outside
    append(words, {"--mca", "oob_tcp_if_include", "lo", "--mca", "btl", "self,vader"});
    return;
  }
  std::string hosts;
  for (const Host& host : options.hosts)
    hosts += fmt::format("{}{}:{}", hosts.empty() ? "" : ",", host.address, host.num_ranks);
  append(words, {"--host", hosts});
  append(words, {"--mca", "oob_tcp_dynamic_ipv4_ports", fmt::format("{}", options.port)});
  append(words, {"--mca", "btl_tcp_port_min_v4", fmt::format("{}", options.port + kRankPorts)});
  append(words, {"--mca", "btl_tcp_port_range_v4", fmt::format("{}", kRankPorts)});
}

bool is_plain(const std::string& word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("_-+=./:,@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

}  // namespace

Result<Words> mpirun_line(const LaunchOptions& options) {
  if (options.command.empty()) return invalid_argument("launch: no command after --");
  if (options.num_ranks < 1 || options.num_ranks > kMostRanks)
    return invalid_argument("launch: {} ranks; 1 to {}", options.num_ranks, kMostRanks);
  if (!options.hosts.empty() && count_ranks(options.hosts) != options.num_ranks)
    return invalid_argument("launch: {} ranks, but the hosts have {}", options.num_ranks,
                            count_ranks(options.hosts));
  if (options.port < kLowestPort || options.port > kHighestPort)
    return invalid_argument("MASTER_PORT: {}; {} to {}", options.port, kLowestPort, kHighestPort);
  Words words{"mpirun", "-n", fmt::format("{}", options.num_ranks)};
  if (options.as_root) words.push_back("--allow-run-as-root");
  add_binding(options, words);
  add_network(options, words);
  if (!options.hosts.empty())
    for (const std::string& name : options.environment) append(words, {"-x", name});
  append(words, {"sh", "-c", kRankShell, "fathom-rank"});
  words.insert(words.end(), options.command.begin(), options.command.end());
  return words;
}

std::string shell_line(const Words& words) {
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line += ' ';
    if (is_plain(word)) {
      line += word;
      continue;
    }
    line += '\'';
    for (char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

}  // namespace fathom
