#include "cli/kernel_report.h"

#include <array>

#include "cli/console.h"
#include "cli/machine_report.h"
#include "cli/units.h"

namespace fathom {
namespace {

bool is_cached(const KernelBenchReport& report, const KernelRow& row) {
  return row.rotated_bytes < static_cast<double>(report.last_level_cache_bytes);
}

Json rate_json(const std::optional<TierRates::Named>& rate) {
  if (!rate) return nullptr;
  return {{"probe", rate->probe_name}, {"tops", rate->ops_per_second / kTera}};
}

Json time_json(const CallTime& time) {
  return {{"best", time.best}, {"median", time.median}, {"calls", time.num_calls}};
}

Json row_json(const KernelBenchReport& report, const KernelRow& row) {
  const auto share = row.share();
  return {{"name", row.name},
          {"kernel", row.kernel},
          {"shape", row.shape},
          {"tokens", row.tokens},
          {"seconds", time_json(row.time)},
          {"bytes", row.bytes},
          {"operations", row.operations.total()},
          {"gb_per_s", row.bytes / row.time.best / kGiga},
          {"tops", row.operations.total() / row.time.best / kTera},
          {"roof_fraction", share ? Json(*share) : Json(nullptr)},
          {"limit", row.roof ? Json(roof_limit_name(row.roof->limit)) : Json(nullptr)},
          {"from_cache", is_cached(report, row)}};
}

Json section_json(const KernelBenchReport& report, const KernelSection& section) {
  Json rows = Json::array();
  for (const KernelRow& row : section.rows) rows.push_back(row_json(report, row));
  return {{"group", kernel_group_name(section.group)},
          {"name", section.name},
          {"read_gb_per_s", section.moment.read_bytes_per_second / kGiga},
          {"int8", rate_json(section.moment.rates.int8)},
          {"bf16", rate_json(section.moment.rates.bfloat16)},
          {"f32", rate_json(section.moment.rates.float32)},
          {"rows", std::move(rows)}};
}

Json forms_json(const AttentionForms& forms) {
  Json rows = Json::array();
  for (const AttentionForms::Row& row : forms.rows) {
    rows.push_back({{"tokens", row.tokens},
                    {"absorbed_seconds", time_json(row.absorbed)},
                    {"expanded_seconds", time_json(row.expanded)}});
  }
  return {{"context", forms.context},
          {"heads", forms.num_heads},
          {"rows", std::move(rows)},
          {"crossover_tokens", forms.crossover ? Json(*forms.crossover) : Json(nullptr)},
          {"engine_crossover_tokens", forms.engine_crossover}};
}

std::string rate_text(const char* name, const char* unit, const std::optional<TierRates::Named>& rate) {
  if (!rate) return "";
  return fmt::format(", {} {:.3f} {} ({})", name, rate->ops_per_second / kTera, unit, rate->probe_name);
}

using Cells = std::array<std::string, 10>;

std::string line(const Cells& cells) {
  constexpr const char* kFormats[] = {"{:<18}", " {:<24}", "{:>7}", "{:>12}",  "{:>12}",
                                      "{:>10}", "{:>9}",   "{:>9}", "{:>10} ", "{}"};
  std::string text = " ";
  for (size_t i = 0; i < cells.size(); ++i) text += fmt::format(fmt::runtime(kFormats[i]), cells[i]);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

std::string section_text(const KernelBenchReport& report, const KernelSection& section) {
  const Moment& moment = section.moment;
  std::string text = fmt::format(
      "\n{} {}: {} {:.2f} GB/s{}{}{}\n", kernel_group_name(section.group), section.name,
      report.device.empty() ? "read" : "copy", moment.read_bytes_per_second / kGiga,
      rate_text("int8", "TOPS", moment.rates.int8), rate_text("bf16", "TFLOPS", moment.rates.bfloat16),
      rate_text("float32", "TFLOPS", moment.rates.float32));
  text += line({"", "", "tokens", "us best", "median", "MB", "GB/s", "TOPS", "of roof", "limit"});
  for (const KernelRow& row : section.rows) {
    const double operations = row.operations.total();
    const auto share = row.share();
    const bool cached = is_cached(report, row);
    text +=
        line({row.name, row.shape, std::to_string(row.tokens), fmt::format("{:.1f}", row.time.best / kMicro),
              fmt::format("{:.1f}", row.time.median / kMicro), fmt::format("{:.2f}", row.bytes / 1e6),
              fmt::format("{:.2f}", row.bytes / row.time.best / kGiga),
              operations > 0 ? fmt::format("{:.3f}", operations / row.time.best / kTera) : "-",
              share ? fmt::format("{:.0f} %{}", *share * 100, cached ? "*" : " ") : "-",
              row.roof ? std::string(roof_limit_name(row.roof->limit)) : ""});
  }
  return text;
}

std::string forms_text(const AttentionForms& forms) {
  std::string text = fmt::format(
      "\nabsorbed against expanded: a layer's whole attention of new tokens behind {} cached ones, {} heads\n"
      " {:>7} {:>13} {:>13} {:>20}\n",
      forms.context, forms.num_heads, "tokens", "absorbed ms", "expanded ms", "absorbed/expanded");
  for (const AttentionForms::Row& row : forms.rows) {
    text += fmt::format(" {:>7} {:>13.3f} {:>13.3f} {:>20.2f}\n", row.tokens, row.absorbed.best * 1e3,
                        row.expanded.best * 1e3, row.absorbed.best / row.expanded.best);
  }
  if (forms.crossover) {
    return text +
           fmt::format(
               "The expanded form is faster from about {:.0f} tokens on; the engine uses it from {} on.\n",
               *forms.crossover, forms.engine_crossover);
  }
  const bool expanded = !forms.rows.empty() && forms.rows[0].expanded.best < forms.rows[0].absorbed.best;
  return text +
         fmt::format("The {} form is faster throughout; the engine uses the expanded one from {} on.\n",
                     expanded ? "expanded" : "absorbed", forms.engine_crossover);
}

}  // namespace

Json to_json(const KernelBenchReport& report) {
  Json sections = Json::array();
  for (const KernelSection& section : report.sections) sections.push_back(section_json(report, section));
  Json machine;
  if (!report.device.empty()) {
    machine = {{"device", report.device}};
  } else {
    machine = {{"cpu", report.cpu},
               {"isa", isa_name(report.isa)},
               {"threads", report.num_threads},
               {"last_level_cache_bytes", report.last_level_cache_bytes},
               {"ceilings", to_json(report.machine)}};
  }
  return {{"model", report.model},
          {"machine", std::move(machine)},
          {"sections", std::move(sections)},
          {"attention_forms", report.forms ? forms_json(*report.forms) : Json(nullptr)}};
}

std::string to_text(const KernelBenchReport& report) {
  std::string text = report.device.empty() ? fmt::format("{} on {} threads of {}, {} kernels\n", report.model,
                                                         report.num_threads, report.cpu, isa_name(report.isa))
                                           : fmt::format("{} on {}\n", report.model, report.device);
  bool any_cached = false;
  for (const KernelSection& section : report.sections) {
    text += section_text(report, section);
    for (const KernelRow& row : section.rows) any_cached = any_cached || is_cached(report, row);
  }
  if (report.forms) text += forms_text(*report.forms);
  text +=
      "\nRates and shares of the best call, against ceilings measured before and after each table, the "
      "better "
      "of both.\n";
  if (any_cached) text += "* Works in the caches, so that memory bandwidth is not its limit.\n";
  return text;
}

}  // namespace fathom
