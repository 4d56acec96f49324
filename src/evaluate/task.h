// A benchmark as data: its questions as queries, and how an answer is judged. Each is opened by a function in
// evaluate/tasks/.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "evaluate/scorer.h"
#include "text/tokenizer.h"

namespace fathom {

// Whose prompts and rules: those of lm-evaluation-harness, or those of modeltest, the seed's own tests.
enum class PromptStyle { kHarness, kModeltest };

enum class Aggregation {
  kMean,         // of the values
  kPerplexity,   // exp(-sum of values / sum of weights)
  kBitsPerUnit,  // -sum of values / sum of weights, in bits
};

struct Metric {
  std::string name;             // "acc"
  std::string filter = "none";  // which extraction rule
  Aggregation aggregation = Aggregation::kMean;
};

struct Subject {
  std::string name;           // of results: "cmmlu_anatomy"
  std::string alias;          // in tables: "anatomy"
  std::string group;          // between it and its task ("mmlu_stem"); empty for none
  int64_t num_available = 0;  // examples that the data set has, whatever the limit
};

struct Example {
  size_t subject = 0;  // index into Task::subjects
  Query query;
  std::vector<size_t> right = {};  // indices of the right choices, where there are choices
  std::string golden = {};         // what is right, for the judge and for people
};

struct Score {
  std::vector<double> values;        // one for each metric
  std::vector<double> weights = {};  // the same, where the metrics weigh
  std::string result = {};           // what was taken for the answer
  double pass = 0;                   // [0, 1]
};

// May run programs (HumanEval); an error ends the evaluation.
using Judge = std::function<Result<Score>(const Example& example, const Answer& answer)>;

struct Task {
  std::string name;     // "cmmlu": also of the group, where it has subjects
  std::string version;  // of the convention
  int64_t num_shots = 0;
  std::vector<Subject> subjects;  // one, of the task's name, where it has none
  bool has_mean = true;           // whether the mean over the subjects says something
  std::vector<Metric> metrics;
  std::vector<Example> examples;  // in order of subjects
  Judge judge;

  bool has_subjects() const { return subjects.size() != 1 || subjects[0].name != name; }
};

struct TaskOptions {
  std::string data_dir;
  PromptStyle style = PromptStyle::kHarness;
  std::optional<int64_t> num_shots = std::nullopt;  // default: the convention's
  std::optional<int64_t> limit = std::nullopt;      // examples of a subject
  std::vector<std::string> subjects = {};           // only these; empty: all
  const Tokenizer* tokenizer = nullptr;             // for prompts of a given length
  int64_t max_model_len = 0;
};

// Reads the data set and makes its queries. Errors name the file, what is wanted and where users get it.
Result<Task> open_task(std::string_view name, const TaskOptions& options);
// The names that open_task knows.
std::vector<std::string_view> task_names();

}  // namespace fathom
