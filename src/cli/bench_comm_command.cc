#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "benchmark/comm_bench.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/rank_group.h"
#include "cli/units.h"

namespace fathom {
namespace {

constexpr const char* kBenchCommExamples = R"(Examples:
  fathom launch -n 2 -- fathom bench comm
  fathom launch -n 2 -- fathom bench comm --sizes 4k,64k,1M --json

Times are of one call, at rank 0: the median, the best, and what nine in ten stay below. GB/s are the vector's bytes by the
median; the copy is memory to memory, by every rank at once.)";

constexpr uint64_t kMostBytes = uint64_t{1} << 30;

struct BenchCommFlags {
  std::string sizes = "1k,4k,16k,64k,256k,1M,4M,16M,64M";
  double seconds = CommOptions().seconds;
  bool json = false;
};

Result<std::vector<int64_t>> parse_sizes(std::string_view text) {
  std::vector<int64_t> sizes;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    FATHOM_ASSIGN_OR_RETURN(const uint64_t size, parse_size(text.substr(begin, end - begin), "--sizes"));
    if (size % sizeof(float) != 0 || size == 0 || size > kMostBytes)
      return invalid_argument("--sizes: {} is no multiple of 4 from 4 to {}", size, kMostBytes);
    sizes.push_back(static_cast<int64_t>(size));
    begin = end + 1;
  }
  return sizes;
}

double rate_of(const CommFigure& figure) { return static_cast<double>(figure.bytes) / figure.times.median; }

Json times_json(const CallTimes& times) {
  return {{"median", times.median / kMicro},
          {"best", times.best / kMicro},
          {"slow", times.slow / kMicro},
          {"calls", times.num_calls}};
}

Json to_json(const CommReport& report, const NodeLayout& layout) {
  Json figures = Json::array();
  for (const CommFigure& figure : report.figures) {
    Json entry = {{"operation", figure.operation}, {"bytes", figure.bytes}, {"us", times_json(figure.times)}};
    if (figure.bytes > 0) entry["gb_per_s"] = rate_of(figure) / kGiga;
    if (figure.library) entry["mpi_us"] = times_json(*figure.library);
    figures.push_back(std::move(entry));
  }
  return {{"ranks", layout.size()},
          {"nodes", layout.num_nodes()},
          {"copy_gb_per_s", report.copy_bytes_per_second / kGiga},
          {"figures", std::move(figures)}};
}

std::string to_text(const CommReport& report, const NodeLayout& layout) {
  std::string text = fmt::format(
      "{} ranks on {} {}; a rank copies {:.1f} GB/s\n\n{:<12}{:>10}{:>12}{:>12}{:>12}{:>9}"
      "{:>10}{:>15}{:>8}\n",
      layout.size(), layout.num_nodes(), layout.num_nodes() == 1 ? "node" : "nodes",
      report.copy_bytes_per_second / kGiga, "", "bytes", "median us", "best us", "slow us", "GB/s", "of copy",
      "MPI median us", "faster");
  for (const CommFigure& figure : report.figures) {
    text += fmt::format("{:<12}{:>10}{:>12.2f}{:>12.2f}{:>12.2f}", figure.operation,
                        figure.bytes == 0 ? "" : format_bytes(static_cast<uint64_t>(figure.bytes)),
                        figure.times.median / kMicro, figure.times.best / kMicro, figure.times.slow / kMicro);
    if (figure.bytes > 0)
      text += fmt::format("{:>9.2f}{:>8.0f} %", rate_of(figure) / kGiga,
                          rate_of(figure) / report.copy_bytes_per_second * 100);
    if (figure.library)
      text += fmt::format("{:>15.2f}{:>7.1f}x", figure.library->median / kMicro,
                          figure.library->median / figure.times.median);
    text += "\n";
  }
  return text;
}

Status run_bench_comm(const BenchCommFlags& options) {
  CommOptions comm_options{.seconds = options.seconds};
  FATHOM_ASSIGN_OR_RETURN(comm_options.sizes, parse_sizes(options.sizes));
  FATHOM_ASSIGN_OR_RETURN(RankGroup group, join_rank_group());
  if (!group.transport)
    return invalid_argument("bench comm: one rank has nobody to talk to; see fathom launch");
  FATHOM_ASSIGN_OR_RETURN(const CommReport report,
                          measure_communication(*group.communicator, *group.transport, comm_options));
  const NodeLayout layout = group.communicator->layout();
  FATHOM_RETURN_IF_ERROR(group.finish());
  if (layout.rank != 0) return ok_status();
  if (options.json) {
    print_json(to_json(report, layout));
  } else {
    print_text(to_text(report, layout));
  }
  return ok_status();
}

}  // namespace

void add_bench_comm_command(CLI::App& bench, int& exit_status) {
  auto options = std::make_shared<BenchCommFlags>();
  CLI::App* command = bench.add_subcommand("comm", "how fast ranks talk, under fathom launch");
  command->footer(kBenchCommExamples);
  command->add_option("--sizes", options->sizes, "bytes of a vector")->capture_default_str();
  command->add_option("--seconds", options->seconds, "of each measurement")->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_status] {
    const Status status = run_bench_comm(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
