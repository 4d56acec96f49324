// Finished tasks as documents: lm-evaluation-harness' results and samples, modeltest's csv of cases, tables
// and a page. Makes text, writes no file.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "evaluate/eval_journal.h"
#include "evaluate/eval_results.h"
#include "evaluate/task.h"

namespace fathom {

struct FinishedTask {
  Task task;
  std::vector<ExampleResult> results;  // of task.examples
  std::vector<ResultRow> rows;
};

// What is told about the run beside its results.
struct EvalInfo {
  std::string model;
  PromptStyle style = PromptStyle::kHarness;
  Json config;            // the options in force
  std::string version;    // of this program
  double start_time = 0;  // seconds since 1970
  double end_time = 0;
};

// Keys and nesting of the harness' results_*.json.
Json results_json(const std::vector<FinishedTask>& tasks, const EvalInfo& info);
// Lines of the harness' samples_*.jsonl.
std::string samples_jsonl(const FinishedTask& finished);
// modeltest's debug csv: key, queries, input_token_ids, output_token_ids, test_result, golden_result, pass.
std::string cases_csv(const FinishedTask& finished);
// A row for each subject and group: the harness' columns, or modeltest's.
std::string results_table(const std::vector<FinishedTask>& tasks, PromptStyle style);
// A page of its own, with bars and their standard errors; loads nothing.
std::string results_html(const std::vector<FinishedTask>& tasks, const EvalInfo& info);

// "2026-11-24T16-12-53", in UTC, as in the names of the harness' files.
std::string time_for_file_name(double seconds_since_1970);
// A model's path as the name of a folder, as the harness makes it.
std::string name_for_folder(std::string_view model);

}  // namespace fathom
