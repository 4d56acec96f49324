#include "benchmark/topology.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "base/file.h"

namespace fathom {
namespace {

constexpr int kMaxNodes = 1024;

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (::sched_getaffinity(0, sizeof(mask), &mask) != 0) return {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  }
  return cpus;
}

std::optional<int> take_number(std::string_view& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

// "32768K"; 0 where it does not parse.
uint64_t parse_cache_size(std::string_view text) {
  const auto number = take_number(text);
  if (!number) return 0;
  if (text.starts_with('K')) return static_cast<uint64_t>(*number) << 10;
  if (text.starts_with('M')) return static_cast<uint64_t>(*number) << 20;
  return static_cast<uint64_t>(*number);
}

// Caches of one level, each counted once however many CPUs share it.
uint64_t cache_bytes(const std::string& root, const std::vector<int>& cpus, int index) {
  std::set<std::string> seen;
  uint64_t bytes = 0;
  for (int cpu : cpus) {
    const std::string cache =
        root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cache/index" + std::to_string(index);
    const std::string sharers = read_system_file(cache + "/shared_cpu_list");
    if (sharers.empty() || !seen.insert(sharers).second) continue;
    bytes += parse_cache_size(read_system_file(cache + "/size"));
  }
  return bytes;
}

}  // namespace

std::vector<int> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  while (true) {
    const auto first = take_number(text);
    if (!first) return cpus;
    int last = *first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      const auto number = take_number(text);
      if (!number || *number < last || *number - last >= CPU_SETSIZE) return cpus;
      last = *number;
    }
    for (int cpu = *first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (!text.starts_with(',')) return cpus;
    text.remove_prefix(1);
  }
}

Topology read_topology(const std::string& root) {
  Topology topology;
  std::vector<int> left = allowed_cpus();
  int num_nodes = 0;
  for (int node : parse_cpu_list(read_system_file(root + "/sys/devices/system/node/online"))) {
    if (node >= kMaxNodes) break;
    const std::string path = root + "/sys/devices/system/node/node" + std::to_string(node) + "/cpulist";
    const size_t before = topology.cpus.size();
    for (int cpu : parse_cpu_list(read_system_file(path))) {
      const auto found = std::find(left.begin(), left.end(), cpu);
      if (found == left.end()) continue;
      topology.cpus.push_back(cpu);
      left.erase(found);
    }
    if (topology.cpus.size() > before) ++num_nodes;
  }
  topology.cpus.insert(topology.cpus.end(), left.begin(), left.end());
  topology.num_nodes = std::max(1, num_nodes);
  constexpr int kLevel3 = 3, kLevel2 = 2;  // the kernel's index counts level 1 twice
  topology.last_level_cache_bytes = cache_bytes(root, topology.cpus, kLevel3);
  if (topology.last_level_cache_bytes == 0)
    topology.last_level_cache_bytes = cache_bytes(root, topology.cpus, kLevel2);
  return topology;
}

}  // namespace fathom
