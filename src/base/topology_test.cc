#include "base/topology.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>

namespace fathom {
namespace {

// "numa:2 core:2 pu:2" with its CPUs numbered as Linux does: first one of each core, then the siblings.
constexpr const char* kTwoNodesLinux = "numa:2 core:2 pu:2(indexes=0,4,1,5,2,6,3,7)";

Topology topology_of(const std::string& synthetic, std::vector<int> allowed = {}) {
  const Result<Topology> topology = read_topology({.synthetic = synthetic, .allowed = std::move(allowed)});
  EXPECT_TRUE(topology.ok()) << topology.status().message();
  return topology.ok() ? *topology : Topology{};
}

std::vector<int> cpus_of(const Topology& topology) {
  std::vector<int> cpus;
  for (const UsableCpu& cpu : topology.cpus) cpus.push_back(cpu.cpu);
  return cpus;
}

std::vector<int> cpus_of(const Placement& placement) {
  std::vector<int> cpus;
  for (const Placement::Thread& thread : placement.threads) cpus.push_back(thread.cpu);
  return cpus;
}

std::vector<int> nodes_of(const Placement& placement) {
  std::vector<int> nodes;
  for (const Placement::Thread& thread : placement.threads) nodes.push_back(thread.node);
  return nodes;
}

void expect_floating(const Placement& placement, int num_threads) {
  EXPECT_FALSE(placement.pinned);
  EXPECT_EQ(placement.num_nodes, 1);
  EXPECT_EQ(placement.num_threads(), num_threads);
  EXPECT_EQ(nodes_of(placement), std::vector<int>(static_cast<size_t>(num_threads), 0));
}

TEST(Topology, OneNodeWithoutSiblings) {
  const Topology topology = topology_of("numa:1 core:4 pu:1");
  EXPECT_EQ(cpus_of(topology), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(topology.node_ids, std::vector<int>{0});
}

TEST(Topology, CoresComeBeforeSiblingsAndNodesLieTogether) {
  EXPECT_EQ(cpus_of(topology_of("numa:2 core:2 pu:2")), (std::vector<int>{0, 2, 4, 6, 1, 3, 5, 7}));
  const Topology linux_numbers = topology_of(kTwoNodesLinux);
  EXPECT_EQ(cpus_of(linux_numbers), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(linux_numbers.num_nodes(), 2);
  for (const UsableCpu& cpu : linux_numbers.cpus) {
    EXPECT_EQ(cpu.node, cpu.cpu / 2 % 2) << cpu.cpu;
    EXPECT_EQ(cpu.sibling, cpu.cpu / 4) << cpu.cpu;
  }
}

TEST(Topology, CountsOnlyAllowedCpus) {
  // One thread of each of two cores, the second core of node 0 and the first of node 1.
  const Topology topology = topology_of(kTwoNodesLinux, {5, 2, 99});
  EXPECT_EQ(cpus_of(topology), (std::vector<int>{5, 2}));
  EXPECT_EQ(topology.cpus[0].sibling, 0) << "the other thread of its core may not be used";
  const Topology second_node = topology_of(kTwoNodesLinux, {3, 6});
  EXPECT_EQ(second_node.node_ids, std::vector<int>{1});
  EXPECT_EQ(second_node.cpus[0].node, 0) << "node indices are dense";
  EXPECT_FALSE(read_topology({.synthetic = kTwoNodesLinux, .allowed = {99}}).ok());
}

TEST(Topology, RefusesWhatHwlocCannotRead) { EXPECT_FALSE(read_topology({.synthetic = "nonsense"}).ok()); }

TEST(ChoosePlacement, FillsANode) {
  const Topology topology = topology_of("numa:1 core:4 pu:2");
  const Placement four = choose_placement(topology, 4);
  EXPECT_TRUE(four.pinned);
  EXPECT_EQ(four.num_nodes, 1);
  EXPECT_EQ(cpus_of(four), (std::vector<int>{0, 2, 4, 6}));
  EXPECT_EQ(cpus_of(choose_placement(topology, 6)), (std::vector<int>{0, 2, 4, 6, 1, 3}));
}

TEST(ChoosePlacement, SpreadsEvenlyOverNodes) {
  const Topology topology = topology_of("numa:2 core:4 pu:2");
  EXPECT_EQ(nodes_of(choose_placement(topology, 2)), (std::vector<int>{0, 1}));
  EXPECT_EQ(nodes_of(choose_placement(topology, 3)), (std::vector<int>{0, 0, 1}));
  EXPECT_EQ(nodes_of(choose_placement(topology, 6)), (std::vector<int>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(cpus_of(choose_placement(topology, 8)), (std::vector<int>{0, 2, 4, 6, 8, 10, 12, 14}));
  EXPECT_EQ(cpus_of(choose_placement(topology, 16)),
            (std::vector<int>{0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15}));
}

TEST(ChoosePlacement, PrefersIdleCoresToEvenness) {
  // Node 0 has one core left with both its threads, node 1 has all of its four cores.
  const Topology topology = topology_of("numa:2 core:4 pu:2", {0, 1, 8, 9, 10, 11, 12, 13, 14, 15});
  EXPECT_EQ(nodes_of(choose_placement(topology, 5)), (std::vector<int>{0, 1, 1, 1, 1}));
  EXPECT_EQ(nodes_of(choose_placement(topology, 6)), (std::vector<int>{0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(nodes_of(choose_placement(topology, 10)), (std::vector<int>{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}));
}

TEST(ChoosePlacement, EightNodesAtEverySize) {
  const Topology topology = topology_of("numa:8 core:4 pu:2");
  EXPECT_EQ(topology.num_cpus(), 64);
  for (int num_threads = 2; num_threads <= 64; ++num_threads) {
    const Placement placement = choose_placement(topology, num_threads);
    ASSERT_TRUE(placement.pinned);
    ASSERT_EQ(placement.num_threads(), num_threads);
    ASSERT_EQ(placement.num_nodes, std::min(num_threads, 8));
    const std::vector<int> cpus = cpus_of(placement);
    ASSERT_EQ(std::set<int>(cpus.begin(), cpus.end()).size(), cpus.size()) << "a CPU of its own for each";
    const std::vector<int> nodes = nodes_of(placement);
    ASSERT_TRUE(std::is_sorted(nodes.begin(), nodes.end()));
    std::vector<int> counts(static_cast<size_t>(placement.num_nodes), 0);
    for (size_t i = 0; i < nodes.size(); ++i) {
      ASSERT_EQ(nodes[i], cpus[i] / 8);
      ++counts[static_cast<size_t>(nodes[i])];
    }
    const auto [fewest, most] = std::minmax_element(counts.begin(), counts.end());
    ASSERT_LE(*most - *fewest, 1) << num_threads;
  }
}

TEST(ChoosePlacement, FloatsWithOneThreadOrTooMany) {
  const Topology topology = topology_of("numa:2 core:2 pu:1");
  expect_floating(choose_placement(topology, 1), 1);
  EXPECT_TRUE(choose_placement(topology, 4).pinned);
  expect_floating(choose_placement(topology, 5), 5);
}

TEST(ChoosePlacement, RespectsTheAffinityMaskOfTheCallingThread) {
  std::thread([] {
    const auto before = affinity_of_this_thread();
    ASSERT_TRUE(before.ok());
    const int last = before->back();
    ASSERT_TRUE(pin_this_thread({&last, 1}).ok());
    const Result<Topology> topology = read_topology();
    ASSERT_TRUE(topology.ok()) << topology.status().message();
    EXPECT_EQ(cpus_of(*topology), std::vector<int>{last});
    EXPECT_EQ(topology->num_nodes(), 1);
    expect_floating(choose_placement(2), 2);
  }).join();
}

TEST(ChoosePlacement, ThisMachine) {
  const auto allowed = affinity_of_this_thread();
  ASSERT_TRUE(allowed.ok());
  const Result<Topology> topology = read_topology();
  ASSERT_TRUE(topology.ok()) << topology.status().message();
  for (int cpu : cpus_of(*topology)) EXPECT_TRUE(std::binary_search(allowed->begin(), allowed->end(), cpu));
  EXPECT_EQ(*affinity_of_this_thread(), *allowed) << "reading the topology moves nobody";
}

TEST(PinThisThread, RefusesCpusThatDoNotExist) {
  const std::vector<int> before = affinity_of_this_thread().value();
  for (int cpu : {-1, 1 << 20}) EXPECT_FALSE(pin_this_thread({&cpu, 1}).ok());
  EXPECT_FALSE(pin_this_thread({}).ok());
  EXPECT_EQ(affinity_of_this_thread().value(), before);
}

TEST(Topology, SharedCachesCountOnce) {
  const auto topology = read_topology({.synthetic = "numa:2 l3:1(size=33554432) l2:4(size=1MB) core:1 pu:2"});
  ASSERT_TRUE(topology.ok()) << topology.status().message();
  EXPECT_EQ(topology->last_level_cache_bytes, uint64_t{64} << 20);
  const auto half = read_topology(
      {.synthetic = "numa:2 l3:1(size=33554432) l2:4(size=1MB) core:1 pu:2", .allowed = {0, 1, 2}});
  ASSERT_TRUE(half.ok()) << half.status().message();
  EXPECT_EQ(half->last_level_cache_bytes, uint64_t{32} << 20);
}

}  // namespace
}  // namespace fathom
