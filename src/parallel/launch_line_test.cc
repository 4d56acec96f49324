#include "parallel/launch_line.h"

#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <algorithm>

namespace fathom {
namespace {

// What the ranks' shell runs is shown as SCRIPT.
std::string line_of(const LaunchOptions& options) {
  auto words = mpirun_line(options);
  if (!words.ok()) return words.status().message();
  *std::next(std::find(words->begin(), words->end(), "-c")) = "SCRIPT";
  return shell_line(*words);
}

const std::string kTail = " sh -c SCRIPT fathom-rank ";
const std::string kLocal = " --mca oob_tcp_if_include lo --mca btl self,vader";

TEST(LaunchLine, BindsByWhatTheMachineHas) {
  LaunchOptions options{.num_ranks = 2, .num_cores = 8, .num_numa_nodes = 2, .command = {"prog", "it's"}};
  const std::string command = R"(prog 'it'\''s')";
  EXPECT_EQ(line_of(options), "mpirun -n 2 --map-by slot --bind-to numa" + kLocal + kTail + command);
  options.num_ranks = 3;
  EXPECT_EQ(line_of(options), "mpirun -n 3 --map-by slot:PE=2 --bind-to core" + kLocal + kTail + command);
  options.num_ranks = 1;
  EXPECT_EQ(line_of(options), "mpirun -n 1 --map-by slot --bind-to none" + kLocal + kTail + command);
  options.num_ranks = 9;
  EXPECT_EQ(line_of(options),
            "mpirun -n 9 --oversubscribe --map-by slot --bind-to none --mca mpi_yield_when_idle 1" + kLocal +
                kTail + command);
}

TEST(LaunchLine, NamesHostsPortsAndVariables) {
  const LaunchOptions options{.num_ranks = 16,
                              .hosts = {{"a", 8}, {"b", 8}},
                              .port = 20031,
                              .num_cores = 8,
                              .num_numa_nodes = 8,
                              .as_root = true,
                              .environment = {"FATHOM_ISA"},
                              .command = {"prog"}};
  EXPECT_EQ(
      line_of(options),
      "mpirun -n 16 --allow-run-as-root --map-by slot --bind-to numa --host a:8,b:8 --mca "
      "oob_tcp_dynamic_ipv4_ports 20031 --mca btl_tcp_port_min_v4 21031 --mca btl_tcp_port_range_v4 1000 -x "
      "FATHOM_ISA" +
          kTail + "prog");
}

// The exit status and standard output of a rank whose shell runs this script.
std::pair<int, std::string> rank_result(int rank, const std::string& script) {
  const auto words = mpirun_line({.command = {"sh", "-c", script}});
  const auto shell = std::find(words->begin(), words->end(), "sh");
  const std::string line =
      fmt::format("OMPI_COMM_WORLD_RANK={} exec {}", rank, shell_line({shell, words->end()}));
  FILE* output = ::popen(line.c_str(), "r");
  char text[100] = {};
  const size_t size = std::fread(text, 1, sizeof text, output);
  return {WEXITSTATUS(::pclose(output)), std::string(text, size)};
}

TEST(LaunchLine, RanksKeepTheirStatusAndRankZeroItsOutput) {
  using Pair = std::pair<int, std::string>;
  EXPECT_EQ(rank_result(0, "echo text"), Pair(0, "text\n"));
  EXPECT_EQ(rank_result(1, "echo text"), Pair(0, ""));
  EXPECT_EQ(rank_result(0, "exit 3"), Pair(3, ""));
  EXPECT_EQ(rank_result(0, "kill -TERM $$"), Pair(143, ""));  // at once
  // The shell outlives signals to the whole group, as mpirun sends them, and waits for the rank.
  EXPECT_EQ(rank_result(0, "trap 'echo drains; exit 0' USR1; kill -USR1 $PPID $$; sleep 0.1"),
            Pair(0, "drains\n"));
}

TEST(LaunchLine, RefusesWhatCannotBe) {
  EXPECT_EQ(line_of({.num_ranks = 2}), "launch: no command after --");
  EXPECT_EQ(line_of({.num_ranks = 65, .command = {"x"}}), "launch: 65 ranks; 1 to 64");
  EXPECT_EQ(line_of({.num_ranks = 2, .hosts = {{"a", 3}}, .command = {"x"}}),
            "launch: 2 ranks, but the hosts have 3");
  EXPECT_EQ(line_of({.num_ranks = 2, .port = 80, .command = {"x"}}), "MASTER_PORT: 80; 1024 to 63535");
}

}  // namespace
}  // namespace fathom
