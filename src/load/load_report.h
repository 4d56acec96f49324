// A load as documents: vLLM's result file, vLLM's table, and a page for people. Makes text, writes no file.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "load/load_summary.h"

namespace fathom {

// What is told about a load beside its results.
struct LoadInfo {
  std::string url = {};
  std::string backend = {};    // "openai", "vllm", "openai-chat"
  std::string label = {};      // empty: none was given
  std::string tokenizer = {};  // a folder, or empty for the server's
  int64_t num_prompts = 0;
  std::string dataset = {};               // for people
  std::string version = {};               // of this program
  double start_time = 0;                  // seconds since 1970
  std::vector<std::string> metrics = {};  // of the table and the file: "ttft", "tpot", "itl", "e2el"
  std::vector<std::pair<std::string, std::string>> metadata = {};
};

enum class Detail { kSummary, kEveryRequest };

// Keys and units as in vLLM's file.
Json load_json(const LoadInfo& info, const LoadOptions& options, const LoadResult& result,
               const LoadSummary& summary, Detail detail);
std::string load_table(const LoadInfo& info, const LoadOptions& options, const LoadResult& result,
                       const LoadSummary& summary);
// One page with distributions and courses over time; loads nothing, runs no script.
std::string load_html(const LoadInfo& info, const LoadOptions& options, const LoadResult& result,
                      const LoadSummary& summary);

// As vLLM names its file: "openai-infqps-concurrency8-demo-20261124-161253.json".
std::string load_file_name(const LoadInfo& info, const LoadOptions& options);

}  // namespace fathom
