#include "load/load_report.h"

#include <algorithm>
#include <cmath>
#include <ctime>

namespace fathom {
namespace {

struct MetricTitle {
  const char *key, *name, *title;
};
constexpr MetricTitle kTitles[] = {
    {"ttft", "TTFT", "Time to First Token"},
    {"tpot", "TPOT", "Time per Output Token (excl. 1st token)"},
    {"itl", "ITL", "Inter-token Latency"},
    {"e2el", "E2EL", "End-to-end Latency"},
    {"client_queue_time", "Client Queue Time", "Client-side Queueing"},
    {"e2el_including_client_queue", "E2EL incl. Client Queue", "Queue-inclusive End-to-end Latency"}};

constexpr int kTableWidth = 50;

bool is_wanted(const std::string& key, const LoadInfo& info) {
  return std::find(info.metrics.begin(), info.metrics.end(), key) != info.metrics.end();
}

std::string local_time(double seconds_since_1970) {
  const auto time = static_cast<std::time_t>(seconds_since_1970);
  std::tm parts = {};
  localtime_r(&time, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &parts)};
}

template <typename Get>
Json list_of(const LoadResult& result, Get get) {
  Json list = Json::array();
  for (const LoadRecord& record : result.records) list.push_back(get(record));
  return list;
}

void add_details(const LoadResult& result, Json& json) {
  json["input_lens"] = list_of(result, [](const LoadRecord& r) { return r.input_len; });
  json["output_lens"] =
      list_of(result, [](const LoadRecord& r) { return r.error.empty() ? r.output_len : 0; });
  json["ttfts"] = list_of(result, [](const LoadRecord& r) { return r.ttft; });
  json["itls"] = list_of(result, [](const LoadRecord& r) { return r.itls; });
  json["latencies"] = list_of(result, [](const LoadRecord& r) { return r.latency; });
  json["start_times"] = list_of(result, [](const LoadRecord& r) { return r.start; });
  json["queue_times"] = list_of(result, [](const LoadRecord& r) { return r.start - r.arrival; });
  json["generated_texts"] = list_of(result, [](const LoadRecord& r) { return r.text; });
  json["errors"] = list_of(result, [](const LoadRecord& r) { return r.error; });
}

Json rate_json(double rate) { return std::isinf(rate) ? Json("inf") : Json(rate); }

std::string heading(std::string_view text, char fill) {
  const auto left = (kTableWidth - std::min<int>(kTableWidth, static_cast<int>(text.size()))) / 2;
  std::string line = std::string(static_cast<size_t>(left), fill) + std::string(text);
  line.resize(std::max<size_t>(line.size(), kTableWidth), fill);
  return line + "\n";
}

std::string count_row(std::string_view name, int64_t value) {
  return fmt::format("{:<40} {:<10}\n", name, value);
}
std::string number_row(std::string_view name, double value) {
  return fmt::format("{:<40} {:<10.2f}\n", name, value);
}

}  // namespace

Json load_json(const LoadInfo& info, const LoadOptions& options, const LoadResult& result,
               const LoadSummary& summary, Detail detail) {
  Json json = {{"date", local_time(info.start_time)},
               {"endpoint_type", info.backend},
               {"backend", info.backend},
               {"label", info.label.empty() ? Json(nullptr) : Json(info.label)},
               {"model_id", options.model},
               {"tokenizer_id", info.tokenizer.empty() ? options.model : info.tokenizer},
               {"num_prompts", info.num_prompts}};
  for (const auto& [key, value] : info.metadata) json[key] = value;
  json.update(
      {{"request_rate", rate_json(options.request_rate)},
       {"burstiness", options.burstiness},
       {"max_concurrency", options.max_concurrency > 0 ? Json(options.max_concurrency) : Json(nullptr)},
       {"duration", result.duration},
       {"completed", summary.completed},
       {"failed", summary.failed},
       {"total_input_tokens", summary.total_input},
       {"total_output_tokens", summary.total_output},
       {"request_throughput", summary.request_throughput},
       {"request_goodput", summary.request_goodput ? Json(*summary.request_goodput) : Json(nullptr)},
       {"output_throughput", summary.output_throughput},
       {"total_token_throughput", summary.total_token_throughput}});
  if (detail == Detail::kEveryRequest) add_details(result, json);
  json["max_output_tokens_per_s"] = summary.max_output_tokens_per_s;
  json["max_concurrent_requests"] = summary.max_concurrent_requests;
  for (const MetricTitle& metric : kTitles) {
    if (!is_wanted(metric.key, info)) continue;
    const LatencySpread& spread = summary.spreads.at(metric.key);
    json[fmt::format("mean_{}_ms", metric.key)] = spread.mean;
    json[fmt::format("median_{}_ms", metric.key)] = spread.median;
    json[fmt::format("std_{}_ms", metric.key)] = spread.std;
    for (const auto& [p, value] : spread.percentiles) json[fmt::format("p{}_{}_ms", p, metric.key)] = value;
  }
  return json;
}

std::string load_table(const LoadInfo& info, const LoadOptions& options, const LoadResult& result,
                       const LoadSummary& summary) {
  std::string table = heading(" Serving Benchmark Result ", '=');
  table +=
      count_row("Successful requests:", summary.completed) + count_row("Failed requests:", summary.failed);
  if (options.max_concurrency > 0)
    table += count_row("Maximum request concurrency:", options.max_concurrency);
  if (!std::isinf(options.request_rate))
    table += number_row("Request rate configured (RPS):", options.request_rate);
  table += number_row("Benchmark duration (s):", result.duration);
  table += count_row("Total input tokens:", summary.total_input);
  table += count_row("Total generated tokens:", summary.total_output);
  table += number_row("Request throughput (req/s):", summary.request_throughput);
  if (summary.request_goodput) table += number_row("Request goodput (req/s):", *summary.request_goodput);
  table += number_row("Output token throughput (tok/s):", summary.output_throughput);
  table += number_row("Peak output token throughput (tok/s):", summary.max_output_tokens_per_s);
  table += number_row("Peak concurrent requests:", static_cast<double>(summary.max_concurrent_requests));
  table += number_row("Total token throughput (tok/s):", summary.total_token_throughput);
  for (const MetricTitle& metric : kTitles) {
    if (!is_wanted(metric.key, info)) continue;
    const LatencySpread& spread = summary.spreads.at(metric.key);
    table += heading(metric.title, '-');
    table += number_row(fmt::format("Mean {} (ms):", metric.name), spread.mean);
    table += number_row(fmt::format("Median {} (ms):", metric.name), spread.median);
    for (const auto& [p, value] : spread.percentiles)
      table += number_row(fmt::format("P{} {} (ms):", p, metric.name), value);
  }
  return table + heading("", '=');
}

std::string load_file_name(const LoadInfo& info, const LoadOptions& options) {
  const std::string rate = std::isinf(options.request_rate) ? "inf"
                           : options.request_rate == std::floor(options.request_rate)
                               ? fmt::format("{:.1f}", options.request_rate)
                               : fmt::format("{}", options.request_rate);
  const std::string concurrency =
      options.max_concurrency > 0 ? fmt::format("-concurrency{}", options.max_concurrency) : "";
  const std::string model = options.model.substr(options.model.find_last_of('/') + 1);
  return fmt::format("{}-{}qps{}-{}-{}.json", info.label.empty() ? info.backend : info.label, rate,
                     concurrency, model, local_time(info.start_time));
}

}  // namespace fathom
