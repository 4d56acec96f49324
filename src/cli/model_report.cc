#include "cli/model_report.h"

#include <array>

#include "cli/console.h"
#include "cli/machine_report.h"
#include "cli/units.h"

namespace fathom {
namespace {

Json optional_json(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }
Json median_json(const std::optional<Spread>& spread) {
  return spread ? Json(spread->median) : Json(nullptr);
}
Json range_json(const std::optional<Spread>& spread) {
  return spread ? Json::array({spread->min, spread->max}) : Json(nullptr);
}

std::optional<double> in_tera(const std::optional<TierRates::Named>& rate) {
  return rate ? std::optional(rate->ops_per_second / kTera) : std::nullopt;
}
Json probe_json(const std::optional<TierRates::Named>& rate) {
  return rate ? Json(rate->probe_name) : Json(nullptr);
}

// The fields of the contract, in its order, and those added since: also the columns of the CSV.
Json contract_json(const ModelBenchRow& row) {
  const bool decoded = row.decode_tps.has_value();
  return {{"batch", row.batch},
          {"input", row.lengths.input},
          {"output", row.lengths.output},
          {"prefill_tps", row.prefill_tps.median},
          {"decode_tps", median_json(row.decode_tps)},
          {"ttft_ms", row.ttft_ms.median},
          {"tpot_ms", median_json(row.tpot_ms)},
          {"decode_bytes_per_step", decoded ? Json(row.decode_step.total()) : Json(nullptr)},
          {"decode_gb_per_s", median_json(row.decode_gb_per_s)},
          {"prefill_tops", row.prefill_tops.median},
          {"roof_fraction_decode", median_json(row.roof_fraction_decode)},
          {"roof_fraction_prefill", median_json(row.roof_fraction_prefill)},
          {"peak_rss_bytes", row.peak_rss_bytes},
          {"read_gb_per_s", row.read_gb_per_s.median},
          {"decode_weight_bytes_per_step", decoded ? Json(row.decode_step.weights) : Json(nullptr)},
          {"decode_cache_bytes_per_step", decoded ? Json(row.decode_step.cache) : Json(nullptr)}};
}

std::string_view limit_name(const ModelBenchRow& row) {
  return row.prefill_limit ? roof_limit_name(*row.prefill_limit) : "unknown";
}

Json row_json(const ModelBenchRow& row) {
  Json json = contract_json(row);
  const OperationCounts& operations = row.prefill.operations;
  json["prefill_limit"] = limit_name(row);
  json["prefill_steps"] = row.num_prefill_steps;
  json["prefill_operations"] = {
      {"int8_weights", operations.int8},     {"w8a16_weights", operations.int8_pair},
      {"bf16_weights", operations.bfloat16}, {"f32_weights", operations.float32},
      {"attention", operations.attention},   {"expansion", operations.expansion}};
  json["prefill_weight_bytes"] = row.prefill.weight_bytes;
  json["prefill_seconds"] = row.prefill_seconds.median;
  json["total_seconds"] = row.total_seconds.median;
  json["decode_steps"] = row.num_decode_steps;
  json["decode_batch"] = row.decode_batch;
  json["preemptions"] = row.num_preemptions;
  json["drafts"] = row.num_drafts;
  json["accepted_drafts"] = row.num_accepted;
  json["cached_tokens"] = row.num_cached_tokens;
  json["spread"] = {{"prefill_tps", range_json(row.prefill_tps)},
                    {"decode_tps", range_json(row.decode_tps)},
                    {"ttft_ms", range_json(row.ttft_ms)},
                    {"tpot_ms", range_json(row.tpot_ms)},
                    {"read_gb_per_s", range_json(row.read_gb_per_s)},
                    {"roof_fraction_decode", range_json(row.roof_fraction_decode)},
                    {"roof_fraction_prefill", range_json(row.roof_fraction_prefill)}};
  return json;
}

std::string median_text(const std::optional<Spread>& spread) {
  return spread ? fmt::format("{:.1f}", spread->median) : "-";
}

// "120-130": smallest and largest of the repeats.
std::string range_text(const std::optional<Spread>& spread) {
  if (!spread) return "";
  const int digits = spread->max < 100 ? 1 : 0;
  return fmt::format("{:.{}f}-{:.{}f}", spread->min, digits, spread->max, digits);
}

std::string percent_text(const std::optional<Spread>& fraction) {
  return fraction ? fmt::format("{:.1f} %", fraction->median * 100) : "-";
}
std::string percent_range_text(const std::optional<Spread>& fraction) {
  return fraction ? fmt::format("{:.0f}-{:.0f} %", fraction->min * 100, fraction->max * 100) : "";
}

std::string rate_text(const std::optional<TierRates::Named>& rate, std::string_view unit) {
  return rate ? fmt::format("{:.3f} {} ({})", rate->ops_per_second / kTera, unit, rate->probe_name) : "none";
}

std::string ceilings_text(const char* when, const ThreadCeilings& ceilings, Isa isa) {
  const TierRates rates = tier_rates(ceilings, isa);
  return fmt::format("{:<8} read {:.2f} GB/s, int8 {}, bf16 {}, float32 {}\n", when,
                     ceilings.read.best / kGiga, rate_text(rates.int8, "TOPS"),
                     rate_text(rates.bfloat16, "TFLOPS"), rate_text(rates.float32, "TFLOPS"));
}

std::string moment_text(const char* when, const Moment& moment) {
  return fmt::format("{:<8} copy {:.2f} GB/s, int8 {}, bf16 {}\n", when, moment.read_bytes_per_second / kGiga,
                     rate_text(moment.rates.int8, "TOPS"), rate_text(moment.rates.bfloat16, "TFLOPS"));
}

std::string ceilings_text(const ModelBenchReport& report) {
  if (report.cuda) {
    return moment_text("before", report.cuda->before) + moment_text("after", report.cuda->after) +
           moment_text("better", report.cuda->better());
  }
  return ceilings_text("before", report.before.threads.front(), report.isa) +
         ceilings_text("after", report.after.threads.front(), report.isa) +
         ceilings_text("better", report.machine, report.isa);
}

// What computed: the fields of the JSON that say so.
Json machine_json(const ModelBenchReport& report) {
  const double read = report.cuda ? report.cuda->better().read_bytes_per_second : report.machine.read.best;
  Json json = {{"device", report.cuda ? Json(report.cuda->facts.name) : Json("cpu")},
               {"read_gb_per_s", read / kGiga},
               {"int8_tops", optional_json(in_tera(report.rates.int8))},
               {"bf16_tflops", optional_json(in_tera(report.rates.bfloat16))},
               {"f32_tflops", optional_json(in_tera(report.rates.float32))},
               {"threads", report.num_threads},
               {"ranks", report.num_ranks},
               {"step_tokens", report.step_tokens},
               {"repeats", report.num_repeats},
               {"fathom", FATHOM_VERSION},
               {"int8_probe", probe_json(report.rates.int8)},
               {"bf16_probe", probe_json(report.rates.bfloat16)},
               {"f32_probe", probe_json(report.rates.float32)}};
  if (report.cuda) return json;
  json["isa"] = isa_name(report.isa);
  json["cpu"] = report.before.features.model_name;
  json["before"] = to_json(report.before.threads.front());
  json["after"] = to_json(report.after.threads.front());
  return json;
}

std::string folder_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

// The seed's non-first token time: all steps after the prefill over one token less than there are; 0 for one.
double seed_token_ms(const ModelBenchRow& row) {
  if (row.lengths.output < 2) return 0;
  return (row.total_seconds.median - row.prefill_seconds.median) * 1000 /
         static_cast<double>(row.lengths.output - 1);
}

// As a CSV cell: quoted where it has to be.
std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

Json to_json(const ModelBenchReport& report) {
  Json rows = Json::array();
  for (const ModelBenchRow& row : report.rows) rows.push_back(row_json(row));
  return {{"model", report.model}, {"machine", machine_json(report)}, {"rows", std::move(rows)}};
}

std::string place_text(const ModelBenchReport& report) {
  const std::string ranks = report.num_ranks > 1 ? fmt::format("{} ranks of ", report.num_ranks) : "";
  const std::string place = report.cuda
                                ? report.cuda->facts.name
                                : fmt::format("{}{} threads of {}, {} kernels", ranks, report.num_threads,
                                              report.before.features.model_name, isa_name(report.isa));
  return fmt::format("{}, steps of {} tokens, {} a row, fathom {}", place, report.step_tokens,
                     report.num_repeats == 1 ? "one run" : fmt::format("{} runs", report.num_repeats),
                     FATHOM_VERSION);
}

std::string to_text(const ModelBenchReport& report) {
  std::string text = fmt::format("{} on {}\n\nceilings\n", report.model, place_text(report));
  text += ceilings_text(report);
  const auto line = [&text](const std::array<std::string, 15>& cells) {
    constexpr int kWidths[] = {5, 7, 7, 11, 10, 10, 10, 11, 10, 8, 9, 9, 8, 22, 11};
    for (size_t i = 0; i < cells.size(); ++i) text += fmt::format("{:>{}} ", cells[i], kWidths[i]);
    text.back() = '\n';
  };
  text += "\n";
  line({"batch", "input", "output", "prefill/s", "ttft ms", "decode/s", "tpot ms", "weights MB", "cache MB",
        "GB/s", "read GB/s", "of read", "TOPS", "of roof", "peak"});
  bool any_cached = false;
  for (const ModelBenchRow& row : report.rows) {
    const bool cached =
        row.decode_tps && row.decode_step.total() < static_cast<double>(report.before.last_level_cache_bytes);
    any_cached = any_cached || cached;
    line({std::to_string(row.batch), std::to_string(row.lengths.input), std::to_string(row.lengths.output),
          median_text(row.prefill_tps), median_text(row.ttft_ms), median_text(row.decode_tps),
          median_text(row.tpot_ms),
          row.decode_tps ? fmt::format("{:.1f}", row.decode_step.weights / 1e6) : "-",
          row.decode_tps ? fmt::format("{:.1f}", row.decode_step.cache / 1e6) : "-",
          row.decode_gb_per_s ? fmt::format("{:.2f}", row.decode_gb_per_s->median) : "-",
          fmt::format("{:.2f}", row.read_gb_per_s.median),
          percent_text(row.roof_fraction_decode) + (cached ? "*" : ""),
          fmt::format("{:.3f}", row.prefill_tops.median),
          fmt::format("{} of {}", percent_text(row.roof_fraction_prefill), limit_name(row)),
          format_bytes(row.peak_rss_bytes)});
    if (row.prefill_tps.min < row.prefill_tps.max) {
      line({"", "", "range", range_text(row.prefill_tps), range_text(row.ttft_ms), range_text(row.decode_tps),
            range_text(row.tpot_ms), "", "", range_text(row.decode_gb_per_s), range_text(row.read_gb_per_s),
            percent_range_text(row.roof_fraction_decode), "", percent_range_text(row.roof_fraction_prefill)});
    }
    if (row.num_drafts > 0)
      text += fmt::format("      {} of {} drafted tokens held\n", row.num_accepted, row.num_drafts);
    if (row.num_preemptions > 0) {
      text += fmt::format("      {} preemptions: give more --kv-memory\n", row.num_preemptions);
    }
  }
  text +=
      "\nShares are of ceilings measured directly before and after, the better of both: decode's of read "
      "GB/s, "
      "prefill's of the limit that it names. MB of a step.\n";
  if (any_cached)
    text += "* A step's bytes fit into the caches, so that memory bandwidth is not its limit.\n";
  if (report.num_ranks > 1)
    text +=
        "Ceilings, bytes, operations and peak are rank 0's; its ceilings are measured while the others "
        "wait.\n";
  return text;
}

std::string to_csv(const ModelBenchReport& report) {
  std::string text;
  for (const ModelBenchRow& row : report.rows) {
    std::string header, values;
    const Json fields = contract_json(row);
    for (const auto& [name, value] : fields.items()) {
      header += name + ",";
      values += (value.is_null() ? "" : dump_json(value)) + ",";
    }
    if (text.empty()) text = header + "prefill_limit\n";
    text += values + std::string(limit_name(row)) + "\n";
  }
  return text;
}

std::string to_seed_csv(const ModelBenchReport& report) {
  struct Throughput {
    double decode = 0;
    double total = 0;
  };
  std::vector<Throughput> throughputs;
  Throughput mean;
  for (const ModelBenchRow& row : report.rows) {
    const auto tokens = static_cast<double>(row.batch * row.lengths.output);
    const double token_ms = seed_token_ms(row);
    throughputs.push_back({.decode = token_ms > 0 ? static_cast<double>(row.batch) * 1000 / token_ms : 0,
                           .total = tokens / row.total_seconds.median});
    mean.decode += throughputs.back().decode / static_cast<double>(report.rows.size());
    mean.total += throughputs.back().total / static_cast<double>(report.rows.size());
  }
  std::string text =
      "Model,Batchsize,In_seq,Out_seq,Total time(s),Prefill all time(ms),Prefill average time(ms),"
      "Non-first token time(ms),Non-first token Throughput(Tokens/s),E2E Throughput(Tokens/s),"
      "Non-first token Throughput Average(Tokens/s),E2E Throughput Average(Tokens/s)\n";
  const std::string model = cell(folder_name(report.model));
  for (size_t i = 0; i < report.rows.size(); ++i) {
    const ModelBenchRow& row = report.rows[i];
    const double prefill_ms = row.prefill_seconds.median * 1000;
    text +=
        fmt::format("{},{},{},{},{:.6f},{:.3f},{:.3f},{:.3f},{:.3f},{:.3f},{:.3f},{:.3f}\n", model, row.batch,
                    row.lengths.input, row.lengths.output, row.total_seconds.median, prefill_ms,
                    prefill_ms / static_cast<double>(row.num_prefill_steps), seed_token_ms(row),
                    throughputs[i].decode, throughputs[i].total, mean.decode, mean.total);
  }
  return text;
}

}  // namespace fathom
