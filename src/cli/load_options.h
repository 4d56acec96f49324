// The options of `bench serve`, named as those of `vllm bench serve`, and what they become.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/url_flags.h"
#include "load/load_report.h"

namespace fathom {

struct LoadFlags {
  UrlFlags url;
  DatasetOptions dataset;
  std::string tokenizer;
  std::string backend = "openai";
  std::string endpoint;  // empty: the backend's
  std::string request_rate = "inf";
  double burstiness = 1;
  int64_t max_concurrency = 0;
  int64_t num_warmups = 1;
  bool ignore_eos = false;
  std::string extra_body;
  std::optional<double> temperature, top_p;
  std::optional<int64_t> top_k;
  std::string percentile_metrics = "ttft,tpot,itl";
  std::string metric_percentiles = "99";
  std::vector<std::string> goodput;
  std::string label;
  std::vector<std::string> metadata;
  bool save_result = false, save_detailed = false, json = false;
  std::string result_dir, result_filename, html;
};

// flags must outlive the parse and what follows.
void add_load_flags(CLI::App& command, LoadFlags& flags);

// Errors name the option, the value and what is allowed. The model is left empty.
Result<LoadOptions> to_load_options(const LoadFlags& flags);
Result<SummaryOptions> to_summary_options(const LoadFlags& flags);
// Without the URL and the time of the start.
Result<LoadInfo> to_load_info(const LoadFlags& flags);

}  // namespace fathom
