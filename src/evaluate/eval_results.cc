#include "evaluate/eval_results.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace fathom {
namespace {

double mean(std::span<const double> values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

MetricValue aggregate(Aggregation aggregation, std::span<const double> values,
                      std::span<const double> weights) {
  if (aggregation == Aggregation::kMean) return {mean(values), standard_error(values)};
  double sum = 0, weight = 0;
  for (double value : values) sum += value;
  for (double one : weights) weight += one;
  const double nats = -sum / weight;
  return {aggregation == Aggregation::kPerplexity ? std::exp(nats) : nats / std::numbers::ln2};
}

ResultRow subject_row(const Task& task, std::span<const Score> scores, size_t subject) {
  ResultRow row{.name = task.subjects[subject].name, .alias = task.subjects[subject].alias};
  std::vector<std::vector<double>> values(task.metrics.size()), weights(task.metrics.size());
  for (size_t i = 0; i < task.examples.size(); ++i) {
    if (task.examples[i].subject != subject) continue;
    ++row.num_examples;
    row.num_passed += scores[i].pass;
    for (size_t metric = 0; metric < task.metrics.size(); ++metric) {
      values[metric].push_back(scores[i].values[metric]);
      if (!scores[i].weights.empty()) weights[metric].push_back(scores[i].weights[metric]);
    }
  }
  for (size_t metric = 0; metric < task.metrics.size(); ++metric) {
    row.metrics.push_back(aggregate(task.metrics[metric].aggregation, values[metric], weights[metric]));
  }
  return row;
}

ResultRow group_row(const std::string& name, std::span<const ResultRow> members, size_t num_metrics) {
  ResultRow row{.name = name, .alias = name};
  std::vector<int64_t> sizes;
  for (const ResultRow& member : members) {
    row.num_examples += member.num_examples;
    row.num_passed += member.num_passed;
    row.members.push_back(member.name);
    sizes.push_back(member.num_examples);
  }
  for (size_t metric = 0; metric < num_metrics; ++metric) {
    double sum = 0;
    std::vector<std::optional<double>> errors;
    for (const ResultRow& member : members) {
      sum += member.metrics[metric].value * static_cast<double>(member.num_examples);
      errors.push_back(member.metrics[metric].error);
    }
    row.metrics.push_back({sum / static_cast<double>(row.num_examples), pooled_error(errors, sizes)});
  }
  return row;
}

// Names of groups in the order in which subjects first have them.
std::vector<std::string> groups_of(const Task& task) {
  std::vector<std::string> groups;
  for (const Subject& subject : task.subjects) {
    if (std::find(groups.begin(), groups.end(), subject.group) == groups.end())
      groups.push_back(subject.group);
  }
  return groups;
}

}  // namespace

std::vector<ResultRow> summarise(const Task& task, std::span<const Score> scores) {
  FATHOM_CHECK(scores.size() == task.examples.size(), "{} scores of {}", scores.size(), task.examples.size());
  if (!task.has_subjects()) return {subject_row(task, scores, 0)};
  std::vector<ResultRow> rows, all;
  for (const std::string& group : groups_of(task)) {
    std::vector<ResultRow> members;
    for (size_t i = 0; i < task.subjects.size(); ++i) {
      if (task.subjects[i].group == group) members.push_back(subject_row(task, scores, i));
    }
    all.insert(all.end(), members.begin(), members.end());
    if (!group.empty()) {
      rows.push_back(group_row(group, members, task.metrics.size()));
      rows.back().depth = 1;
    }
    for (ResultRow& member : members) {
      member.depth = !group.empty() ? 2 : task.has_mean ? 1 : 0;
      rows.push_back(std::move(member));
    }
  }
  if (task.has_mean) rows.insert(rows.begin(), group_row(task.name, all, task.metrics.size()));
  return rows;
}

std::string metric_key(const Metric& metric) { return metric.name + "," + metric.filter; }
std::string error_key(const Metric& metric) { return metric.name + "_stderr," + metric.filter; }
bool higher_is_better(const Metric& metric) { return metric.aggregation == Aggregation::kMean; }

std::optional<double> standard_error(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const double centre = mean(values);
  double squares = 0;
  for (double value : values) squares += (value - centre) * (value - centre);
  const auto count = static_cast<double>(values.size());
  return std::sqrt(squares / (count - 1)) / std::sqrt(count);
}

std::optional<double> pooled_error(std::span<const std::optional<double>> errors,
                                   std::span<const int64_t> sizes) {
  double squares = 0, total = 0, freedom = 0;
  for (size_t i = 0; i < errors.size(); ++i) {
    if (!errors[i]) return std::nullopt;
    const auto size = static_cast<double>(sizes[i]);
    squares += (size - 1) * *errors[i] * *errors[i] * size;
    total += size;
    freedom += size - 1;
  }
  return std::sqrt(squares / freedom / total);
}

}  // namespace fathom
