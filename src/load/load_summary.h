// A load in numbers: the definitions of vLLM's benchmark.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "load/load_run.h"

namespace fathom {

// The p-th percentile, p in [0, 100], linear between the neighbours as in NumPy; 0 of nothing.
double percentile(const std::vector<double>& sorted, double p);

// Of some times, in milliseconds.
struct LatencySpread {
  double mean = 0, median = 0, std = 0;                     // std: of the population
  std::vector<std::pair<double, double>> percentiles = {};  // (p, value)
};
LatencySpread spread_of(std::vector<double> seconds, const std::vector<double>& percentiles);

struct SummaryOptions {
  std::vector<double> percentiles = {99};
  std::map<std::string, double> goodput = {};  // "ttft", "tpot", "e2el" -> milliseconds
};

struct LoadSummary {
  int64_t completed = 0, failed = 0;
  int64_t total_input = 0, total_output = 0;  // tokens of completed requests
  double request_throughput = 0, output_throughput = 0, total_token_throughput = 0;  // per second
  std::optional<double> request_goodput = std::nullopt;  // requests per second that met all of the goals
  double max_output_tokens_per_s = 0;                    // chunks in the fullest second
  int64_t max_concurrent_requests = 0;
  // "ttft", "tpot", "itl", "e2el", "client_queue_time", "e2el_including_client_queue". tpot leaves out
  // answers of one token.
  std::map<std::string, LatencySpread> spreads = {};
};

LoadSummary summarise(const LoadResult& result, const SummaryOptions& options);

// (latency - ttft) / (tokens - 1), or 0 for one token.
double time_per_output_token(const LoadRecord& record);

}  // namespace fathom
