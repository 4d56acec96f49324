// Scores of examples in a few numbers: of each subject, and of groups of subjects weighted by their size,
// with the formulas of lm-evaluation-harness.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evaluate/task.h"

namespace fathom {

struct MetricValue {
  double value = 0;
  std::optional<double> error = std::nullopt;  // standard error; none for one example, and for perplexities
};

// Of a subject or of a group.
struct ResultRow {
  std::string name;
  std::string alias;
  int depth = 0;  // in tables: 0 the task, below it groups, then subjects
  int64_t num_examples = 0;
  double num_passed = 0;                  // sum of Score::pass
  std::vector<MetricValue> metrics = {};  // of Task::metrics
  std::vector<std::string> members = {};  // of a group: names of its subjects; empty for a subject
};

// In the order of tables: the task, each group and its subjects. scores: of task.examples.
std::vector<ResultRow> summarise(const Task& task, std::span<const Score> scores);

// "acc,none"; with the standard error's mark "acc_stderr,none".
std::string metric_key(const Metric& metric);
std::string error_key(const Metric& metric);
bool higher_is_better(const Metric& metric);

// Sample standard deviation over the root of the count.
std::optional<double> standard_error(std::span<const double> values);
// Of subjects together, from each one's standard error and size, as if their means were one.
std::optional<double> pooled_error(std::span<const std::optional<double>> errors,
                                   std::span<const int64_t> sizes);

}  // namespace fathom
