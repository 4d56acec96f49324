// Sends the requests of a load when they are due and writes down what comes back. Not what it means: that is
// load/load_summary.h.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "client/openai_api.h"
#include "load/datasets.h"

namespace fathom {

struct LoadOptions {
  CompletionApi api = CompletionApi::kText;
  std::string model = {};
  double request_rate = std::numeric_limits<double>::infinity();  // requests per second
  double burstiness = 1;
  int64_t max_concurrency = 0;  // 0: no limit
  int64_t num_warmups = 0;      // first requests that are not counted
  uint64_t seed = 0;            // of the arrivals
  bool ignore_eos = false;
  Json extra_body = Json::object();  // further fields of every request
};

// Times in seconds since the run began.
struct LoadRecord {
  std::string error = {};  // empty: all went well
  double arrival = 0;      // when it was due
  double start = 0;        // when it was due and had a place under max_concurrency: all else counts from here
  double ttft = 0;         // to the first token
  double latency = 0;      // to the last token
  std::vector<double> itls = {};  // between chunks; a chunk may hold several tokens
  int64_t input_len = 0;          // the server's count, or the data set's
  int64_t output_len = 0;         // the server's count, or the number of chunks
  std::string text = {};
};

struct LoadResult {
  double duration = 0;
  std::vector<LoadRecord> records = {};  // in the order of the requests
};

// The first request num_warmups times, at most max_concurrency at once. Fails with the first error.
Status warm_up(HttpClient& client, const LoadRequest& request, const LoadOptions& options);

// progress may be null.
LoadResult run_load(HttpClient& client, const std::vector<LoadRequest>& requests, const LoadOptions& options,
                    ProgressSink* progress);

}  // namespace fathom
