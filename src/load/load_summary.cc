#include "load/load_summary.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace fathom {
namespace {

constexpr double kMilli = 1e3;

bool meets(const LoadRecord& record, const std::map<std::string, double>& goals) {
  const std::map<std::string, double> times = {
      {"ttft", record.ttft}, {"tpot", time_per_output_token(record)}, {"e2el", record.latency}};
  return std::all_of(goals.begin(), goals.end(),
                     [&](const auto& goal) { return times.at(goal.first) * kMilli <= goal.second; });
}

// Whole seconds from the first start on.
double most_chunks_in_a_second(const std::vector<const LoadRecord*>& records, double first_start) {
  std::map<int64_t, int64_t> counts;
  for (const LoadRecord* record : records) {
    double time = record->start + record->ttft - first_start;
    if (record->output_len > 0) ++counts[static_cast<int64_t>(time)];
    for (double itl : record->itls) ++counts[static_cast<int64_t>(time += itl)];
  }
  int64_t most = 0;
  for (const auto& [second, count] : counts) most = std::max(most, count);
  return static_cast<double>(most);
}

// One that ends when another starts is not beside it.
int64_t most_at_once(const std::vector<const LoadRecord*>& records) {
  std::vector<std::pair<double, int>> events;
  for (const LoadRecord* record : records) {
    events.emplace_back(record->start, 1);
    events.emplace_back(record->start + record->latency, -1);
  }
  std::sort(events.begin(), events.end());
  int64_t now = 0, most = 0;
  for (const auto& [time, change] : events) most = std::max(most, now += change);
  return most;
}

}  // namespace

double percentile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return 0;
  const double place = p / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  if (below + 1 >= sorted.size()) return sorted.back();
  return sorted[below] + (sorted[below + 1] - sorted[below]) * (place - static_cast<double>(below));
}

LatencySpread spread_of(std::vector<double> seconds, const std::vector<double>& percentiles) {
  LatencySpread spread;
  std::sort(seconds.begin(), seconds.end());
  if (!seconds.empty()) {
    const auto count = static_cast<double>(seconds.size());
    const double mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) / count;
    double squares = 0;
    for (double one : seconds) squares += (one - mean) * (one - mean);
    spread = {mean * kMilli, percentile(seconds, 50) * kMilli, std::sqrt(squares / count) * kMilli};
  }
  for (double p : percentiles) spread.percentiles.emplace_back(p, percentile(seconds, p) * kMilli);
  return spread;
}

double time_per_output_token(const LoadRecord& record) {
  return record.output_len > 1 ? (record.latency - record.ttft) / static_cast<double>(record.output_len - 1)
                               : 0;
}

LoadSummary summarise(const LoadResult& result, const SummaryOptions& options) {
  LoadSummary summary;
  std::vector<const LoadRecord*> records;
  std::map<std::string, std::vector<double>> times;
  for (const char* name : {"ttft", "tpot", "itl", "e2el", "client_queue_time", "e2el_including_client_queue"})
    times[name];
  int64_t num_good = 0;
  for (const LoadRecord& record : result.records) {
    if (!record.error.empty()) {
      ++summary.failed;
      continue;
    }
    records.push_back(&record);
    summary.total_input += record.input_len;
    summary.total_output += record.output_len;
    if (meets(record, options.goodput)) ++num_good;
    times["ttft"].push_back(record.ttft);
    if (record.output_len > 1) times["tpot"].push_back(time_per_output_token(record));
    times["itl"].insert(times["itl"].end(), record.itls.begin(), record.itls.end());
    times["e2el"].push_back(record.latency);
    times["client_queue_time"].push_back(record.start - record.arrival);
    times["e2el_including_client_queue"].push_back(record.start - record.arrival + record.latency);
  }
  summary.completed = static_cast<int64_t>(records.size());
  const auto per_second = [&](int64_t count) {
    return result.duration > 0 ? static_cast<double>(count) / result.duration : 0;
  };
  summary.request_throughput = per_second(summary.completed);
  summary.output_throughput = per_second(summary.total_output);
  summary.total_token_throughput = per_second(summary.total_input + summary.total_output);
  if (!options.goodput.empty()) summary.request_goodput = per_second(num_good);
  if (!records.empty()) {
    const auto first = std::min_element(records.begin(), records.end(),
                                        [](auto* a, auto* b) { return a->start < b->start; });
    summary.max_output_tokens_per_s = most_chunks_in_a_second(records, (*first)->start);
    summary.max_concurrent_requests = most_at_once(records);
  }
  for (auto& [name, values] : times)
    summary.spreads[name] = spread_of(std::move(values), options.percentiles);
  return summary;
}

}  // namespace fathom
