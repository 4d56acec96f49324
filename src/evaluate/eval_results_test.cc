#include "evaluate/eval_results.h"

#include <gtest/gtest.h>

#include <cmath>

namespace fathom {
namespace {

Task task_of(std::vector<Subject> subjects, const std::vector<size_t>& subject_of_example) {
  Task task;
  task.name = "exam";
  task.subjects = std::move(subjects);
  task.metrics = {{.name = "acc"}};
  for (size_t subject : subject_of_example) task.examples.push_back({.subject = subject, .query = {}});
  return task;
}

std::vector<Score> scores_of(const std::vector<double>& values) {
  std::vector<Score> scores;
  for (double value : values) scores.push_back({.values = {value}, .pass = value});
  return scores;
}

TEST(EvalResults, MeanAndItsError) {
  const auto rows = summarise(task_of({{"exam", "exam", "", 9}}, {0, 0, 0, 0}), scores_of({1, 0, 1, 1}));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].num_examples, 4);
  EXPECT_EQ(rows[0].num_passed, 3);
  EXPECT_DOUBLE_EQ(rows[0].metrics[0].value, 0.75);
  // sqrt(p (1 - p) / (n - 1))
  EXPECT_DOUBLE_EQ(*rows[0].metrics[0].error, std::sqrt(0.75 * 0.25 / 3));
}

TEST(EvalResults, OneExampleHasNoError) {
  const auto rows = summarise(task_of({{"exam", "exam", "", 1}}, {0}), scores_of({1}));
  EXPECT_EQ(rows[0].metrics[0].error, std::nullopt);
}

// Values by lm_eval 0.4.13's mean_stderr, pooled_sample_stderr and aggregate_subtask_metrics.
TEST(EvalResults, GroupsAreWeightedBySize) {
  const Task task = task_of({{"exam_a", "a", "", 0}, {"exam_b", "b", "", 0}}, {0, 0, 0, 1, 1, 1, 1, 1});
  const auto rows = summarise(task, scores_of({1, 0, 0, 1, 1, 0, 1, 1}));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].name, "exam");
  EXPECT_EQ(rows[0].members, (std::vector<std::string>{"exam_a", "exam_b"}));
  EXPECT_DOUBLE_EQ(rows[0].metrics[0].value, 5.0 / 8);
  EXPECT_NEAR(*rows[1].metrics[0].error, 0.33333333333333337, 1e-15);
  EXPECT_NEAR(*rows[2].metrics[0].error, 0.2, 1e-15);
  EXPECT_NEAR(*rows[0].metrics[0].error, 0.17480147469502524, 1e-15);
  EXPECT_EQ(rows[0].depth, 0);
  EXPECT_EQ(rows[1].depth, 1);
}

TEST(EvalResults, GroupsBetween) {
  const Task task = task_of({{"exam_a", "a", "x", 0}, {"exam_b", "b", "y", 0}, {"exam_c", "c", "x", 0}},
                            {0, 0, 1, 1, 2, 2});
  const auto rows = summarise(task, scores_of({1, 1, 0, 0, 1, 0}));
  std::vector<std::string> names;
  for (const ResultRow& row : rows) names.push_back(row.name);
  EXPECT_EQ(names, (std::vector<std::string>{"exam", "x", "exam_a", "exam_c", "y", "exam_b"}));
  EXPECT_DOUBLE_EQ(rows[0].metrics[0].value, 0.5);
  EXPECT_DOUBLE_EQ(rows[1].metrics[0].value, 0.75);
  EXPECT_EQ(rows[2].depth, 2);
}

TEST(EvalResults, AGroupWithALoneExampleHasNoError) {
  const auto rows =
      summarise(task_of({{"exam_a", "a", "", 0}, {"exam_b", "b", "", 0}}, {0, 1, 1}), scores_of({1, 1, 0}));
  EXPECT_EQ(rows[0].metrics[0].error, std::nullopt);
}

TEST(EvalResults, WithoutMean) {
  Task task = task_of({{"mc1", "mc1", "", 0}, {"mc2", "mc2", "", 0}}, {0, 1});
  task.has_mean = false;
  EXPECT_EQ(summarise(task, scores_of({1, 0.5})).size(), 2u);
}

TEST(EvalResults, Perplexities) {
  Task task = task_of({{"exam", "exam", "", 2}}, {0, 0});
  task.metrics = {{.name = "word_perplexity", .aggregation = Aggregation::kPerplexity},
                  {.name = "bits_per_byte", .aggregation = Aggregation::kBitsPerUnit}};
  const std::vector<Score> scores = {{.values = {-6, -6}, .weights = {2, 10}},
                                     {.values = {-2, -2}, .weights = {2, 6}}};
  const auto rows = summarise(task, scores);
  EXPECT_DOUBLE_EQ(rows[0].metrics[0].value, std::exp(2.0));
  EXPECT_DOUBLE_EQ(rows[0].metrics[1].value, 0.5 / std::log(2.0));
  EXPECT_EQ(rows[0].metrics[0].error, std::nullopt);
  EXPECT_FALSE(higher_is_better(task.metrics[0]));
  EXPECT_EQ(error_key(task.metrics[0]), "word_perplexity_stderr,none");
}

}  // namespace
}  // namespace fathom
