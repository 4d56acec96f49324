#include "evaluate/tasks/task_parts.h"

#include <algorithm>

#include "evaluate/plain_text.h"

namespace fathom {
namespace {

using OpenTask = Result<Task> (*)(const TaskOptions& options);

struct KnownTask {
  std::string_view name;
  OpenTask open;
};

constexpr KnownTask kTasks[] = {
    {"boolq", open_boolq},
    {"ceval", open_ceval},
    {"cmmlu", open_cmmlu},
    {"mmlu", open_mmlu},
    {"gsm8k", open_gsm8k},
    {"humaneval", open_humaneval},
    {"needle", open_needle},
    {"perplexity", open_perplexity},
    {"truthfulqa_mc", open_truthfulqa_mc},
    {"longbench", open_longbench},
    {"longbench_e", open_longbench_e},
};

bool is_right(const Example& example, size_t choice) {
  return std::find(example.right.begin(), example.right.end(), choice) != example.right.end();
}

}  // namespace

Result<Task> open_task(std::string_view name, const TaskOptions& options) {
  for (const KnownTask& task : kTasks) {
    if (task.name == name) return task.open(options);
  }
  return invalid_argument("--tasks: \"{}\" is none of {}", name, fmt::join(task_names(), ", "));
}

std::vector<std::string_view> task_names() {
  std::vector<std::string_view> names;
  for (const KnownTask& task : kTasks) names.push_back(task.name);
  return names;
}

Task plain_task(std::string name, std::string version, size_t num_available) {
  Task task;
  task.subjects = {{name, name, "", static_cast<int64_t>(num_available)}};
  task.name = std::move(name);
  task.version = std::move(version);
  return task;
}

Status refuse_subjects(std::string_view task, const TaskOptions& options) {
  if (options.subjects.empty()) return ok_status();
  return invalid_argument("--tasks: {} has no subjects, \"{}\" for one", task, options.subjects[0]);
}

Status refuse_shots(std::string_view task, const TaskOptions& options) {
  if (options.num_shots.value_or(0) == 0) return ok_status();
  return invalid_argument("--shots: {} has none, {} are wanted", task, *options.num_shots);
}

size_t limited(const TaskOptions& options, size_t count) {
  return options.limit ? std::min(count, static_cast<size_t>(*options.limit)) : count;
}

size_t index_of_largest(std::span<const double> values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

Result<Score> judge_acc(const Example& example, const Answer& answer) {
  const size_t likeliest = index_of_largest(answer.logprobs);
  const double acc = is_right(example, likeliest) ? 1 : 0;
  return Score{.values = {acc}, .result = std::string(strip(example.query.choices[likeliest])), .pass = acc};
}

Result<Score> judge_acc_and_norm(const Example& example, const Answer& answer) {
  FATHOM_ASSIGN_OR_RETURN(Score score, judge_acc(example, answer));
  std::vector<double> per_character;
  for (size_t i = 0; i < answer.logprobs.size(); ++i) {
    const auto length = static_cast<double>(count_characters(example.query.choices[i]) - 1);
    per_character.push_back(answer.logprobs[i] / length);
  }
  score.values.push_back(is_right(example, index_of_largest(per_character)) ? 1 : 0);
  return score;
}

}  // namespace fathom
