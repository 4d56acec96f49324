#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/memory_info.h"
#include "base/topology.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/engine_options.h"
#include "kernels/kernel_table.h"

namespace fathom {
namespace {

constexpr const char* kEnvExamples = R"(Examples:
  fathom env
  FATHOM_ISA=avx2 fathom env --json)";

Json cpu_json(const CpuFeatures& features) {
  return {{"model", features.model_name},
          {"cpus", available_cpus()},
          {"best_isa", isa_name(features.best_isa())},
          {"avx2", features.avx2},
          {"avx512", features.avx512},
          {"avx512_vnni", features.avx512_vnni},
          {"avx512_bf16", features.avx512_bf16},
          {"avx512_fp16", features.avx512_fp16},
          {"amx_tile", features.amx_tile},
          {"amx_int8", features.amx_int8},
          {"amx_bf16", features.amx_bf16},
          {"amx_in_cpu", features.amx_in_cpu}};
}

// Why the amx tier is not offered; empty where it is.
std::string missing_amx(const CpuFeatures& features) {
  if (features.best_isa() == Isa::kAmx) return "";
  if (!features.amx_in_cpu) return "not in this CPU";
  if (!features.amx_tile) return "refused by the kernel";
  return "without another feature it needs";
}

// "node0": its CPUs, as /sys/devices/system/node names them.
Json numa_json() {
  const Result<Topology> topology = read_topology();
  if (!topology.ok()) return "unknown: " + topology.status().message();
  Json nodes = Json::object();
  for (size_t node = 0; node < topology->node_ids.size(); ++node) {
    std::vector<int> cpus;
    for (const UsableCpu& cpu : topology->cpus)
      if (cpu.node == static_cast<int>(node)) cpus.push_back(cpu.cpu);
    std::sort(cpus.begin(), cpus.end());
    nodes[fmt::format("node{}", topology->node_ids[node])] = std::move(cpus);
  }
  return nodes;
}

// What a run without --threads would use.
Json threads_json() {
  const Placement placement = choose_placement(available_cpus());
  Json threads = {
      {"count", placement.num_threads()}, {"nodes", placement.num_nodes}, {"pinned", placement.pinned}};
  if (placement.pinned) {
    for (const Placement::Thread& thread : placement.threads) threads["cpus"].push_back(thread.cpu);
  }
  return threads;
}

// "0-3,8": a list of numbers with its runs drawn together.
std::string format_runs(const std::vector<int>& numbers) {
  std::string text;
  for (size_t begin = 0, end = 0; begin < numbers.size(); begin = end) {
    end = begin + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", numbers[begin]);
    if (end - begin > 1) text += fmt::format("-{}", numbers[end - 1]);
  }
  return text;
}

std::string format_entry(const Json& entry) {
  if (entry.is_string()) return entry.get<std::string>();
  if (entry.is_array()) return format_runs(entry.get<std::vector<int>>());
  return dump_json(entry);
}

Status show_environment(bool json) {
  const CpuFeatures features = detect_cpu_features();
  FATHOM_ASSIGN_OR_RETURN(const Isa isa, isa_in_use(features));
  Json kernels = Json::object();
  for (const auto& [family, name] : kernels::describe_kernels(kernels::select_kernels(isa)))
    kernels[family] = name;
  Json all = {{"version", FATHOM_VERSION},
              {"cpu", cpu_json(features)},
              {"isa_in_use", isa_name(isa)},
              {"kernels", std::move(kernels)},
              {"numa", numa_json()},
              {"threads", threads_json()},
              {"huge_pages", transparent_huge_pages()}};
  if (const std::string missing = missing_amx(features); !missing.empty())
    all["amx"] = fmt::format("{}; {} is used", missing, isa_name(isa));
  if (json) {
    print_json(all);
    return ok_status();
  }
  for (const auto& [key, value] : all.items()) {
    if (!value.is_object()) {
      print_text(fmt::format("{:<22} {}\n", key, format_entry(value)));
      continue;
    }
    for (const auto& [inner, entry] : value.items())
      print_text(fmt::format("{:<22} {}\n", fmt::format("{} {}", key, inner), format_entry(entry)));
  }
  return ok_status();
}

}  // namespace

void add_env_command(CLI::App& app, int& exit_status) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("env", "show the CPU features, threads and kernels in use");
  command->footer(kEnvExamples);
  command->add_flag("--json", *json, "print one JSON document");
  command->callback([json, &exit_status] {
    const Status status = show_environment(*json);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
