#include "cli/machine_report.h"

#include "cli/console.h"
#include "cli/units.h"

namespace fathom {
namespace {

Json rate_json(const Rate& rate, double unit) {
  return {{"best", rate.best / unit},
          {"median", rate.median / unit},
          {"worst", rate.worst / unit},
          {"passes", rate.num_passes}};
}

// Best, and how far the median and the worst pass stay below it.
std::string rate_text(const Rate& rate, double unit) {
  const auto below = [&rate](double value) { return rate.best > 0 ? (value / rate.best - 1) * 100 : 0; };
  return fmt::format("{:>9.3f} ({:.0f} {:.0f} %)", rate.best / unit, below(rate.median), below(rate.worst));
}

constexpr int kLabelWidth = 26;
constexpr int kColumnWidth = 24;

}  // namespace

Json to_json(const ThreadCeilings& ceilings) {
  Json read = rate_json(ceilings.read, kGiga);
  read["streams_per_thread"] = ceilings.read_way.num_streams;
  read["fetched_ahead"] = ceilings.read_way.fetches_ahead;
  read["bytes_per_pass"] = ceilings.read_bytes;
  Json probes = Json::array();
  for (const ProbeRate& entry : ceilings.probes) {
    Json probe = {{"name", entry.probe->name}, {"unit", kernels::probe_unit_name(entry.probe->unit)}};
    if (entry.rate) {
      const Json rate = rate_json(*entry.rate, kTera);
      probe.update(rate);
    } else {
      probe["best"] = nullptr;
      probe["missing"] = entry.probe->needs;
    }
    probes.push_back(std::move(probe));
  }
  return {
      {"threads", ceilings.num_threads}, {"read_gb_per_s", std::move(read)}, {"probes", std::move(probes)}};
}

Json to_json(const MachineCeilings& machine) {
  Json threads = Json::array();
  for (const ThreadCeilings& ceilings : machine.threads) threads.push_back(to_json(ceilings));
  return {{"cpu", machine.features.model_name},
          {"cpus", machine.num_cpus},
          {"nodes", machine.num_nodes},
          {"best_isa", isa_name(machine.features.best_isa())},
          {"last_level_cache_bytes", machine.last_level_cache_bytes},
          {"read_instructions", machine.read_probe},
          {"ceilings", std::move(threads)}};
}

std::string to_text(const MachineCeilings& machine) {
  std::string text = fmt::format(
      "{}: {} CPUs in {} {}, {} of last-level cache, best kernels {}\n", machine.features.model_name,
      machine.num_cpus, machine.num_nodes, machine.num_nodes == 1 ? "node" : "nodes",
      format_bytes(machine.last_level_cache_bytes), isa_name(machine.features.best_isa()));
  std::string line = fmt::format("\n{:<{}}{:<8}", "threads", kLabelWidth, "");
  for (const ThreadCeilings& ceilings : machine.threads)
    line += fmt::format("{:>9}{:<{}}", ceilings.num_threads, "", kColumnWidth - 9);
  text += line + "\n";
  line = fmt::format("{:<{}}{:<8}", "read from memory", kLabelWidth, "GB/s");
  for (const ThreadCeilings& ceilings : machine.threads)
    line += fmt::format("{:<{}}", rate_text(ceilings.read, kGiga), kColumnWidth);
  text += line + "\n";
  if (machine.threads.empty()) return text;
  for (size_t i = 0; i < machine.threads.front().probes.size(); ++i) {
    const kernels::ComputeProbe& probe = *machine.threads.front().probes[i].probe;
    line = fmt::format("{:<{}}{:<8}", probe.label, kLabelWidth, kernels::probe_unit_name(probe.unit));
    if (!machine.threads.front().probes[i].rate) {
      text += line + fmt::format("{:>9} not in this CPU ({})\n", "-", probe.needs);
      continue;
    }
    for (const ThreadCeilings& ceilings : machine.threads)
      line += fmt::format("{:<{}}", rate_text(*ceilings.probes[i].rate, kTera), kColumnWidth);
    text += line + "\n";
  }
  const ThreadCeilings& last = machine.threads.back();
  return text + fmt::format(
                    "\nBest pass; in brackets the median and the worst below it. Read: {} by {} loads, {} "
                    "sequential streams a thread{}.\n",
                    format_bytes(last.read_bytes), machine.read_probe, last.read_way.num_streams,
                    last.read_way.fetches_ahead ? ", prefetched" : "");
}

Json to_json(const CudaCeilings& ceilings) {
  const CudaDeviceFacts& facts = ceilings.facts;
  Json copy = rate_json(ceilings.copy, kGiga);
  copy["bytes_per_pass"] = ceilings.copy_bytes;
  Json products = Json::array();
  for (const ProductRate& product : ceilings.products) {
    products.push_back({{"name", product.type},
                        {"by", product.by},
                        {"size", product.size},
                        {"tops", product.rate.best / kTera},
                        {"rate", rate_json(product.rate, kTera)}});
  }
  return {{"device", facts.name},
          {"compute_capability", facts.compute_capability},
          {"multiprocessors", facts.num_multiprocessors},
          {"memory_bytes", facts.total_bytes},
          {"copy_gb_per_s", std::move(copy)},
          {"products", std::move(products)}};
}

std::string to_text(const CudaCeilings& ceilings) {
  const CudaDeviceFacts& facts = ceilings.facts;
  std::string text = fmt::format("{}: compute capability {}.{}, {} multiprocessors, {} of memory\n\n",
                                 facts.name, facts.compute_capability / 10, facts.compute_capability % 10,
                                 facts.num_multiprocessors, format_bytes(facts.total_bytes));
  text += fmt::format("{:<{}}{:<8}{}\n", "copy, read and written", kLabelWidth, "GB/s",
                      rate_text(ceilings.copy, kGiga));
  for (const ProductRate& product : ceilings.products) {
    text +=
        fmt::format("{:<{}}{:<8}{}\n", fmt::format("{} product, {}", product.type, product.by), kLabelWidth,
                    product.type == "int8" ? "TOPS" : "TFLOPS", rate_text(product.rate, kTera));
  }
  const int64_t size = ceilings.products.empty() ? 0 : ceilings.products.front().size;
  return text + fmt::format(
                    "\nBest pass; in brackets the median and the worst below it. Copies of {}, products of "
                    "matrices of {} x {}.\n",
                    format_bytes(ceilings.copy_bytes), size, size);
}

}  // namespace fathom
