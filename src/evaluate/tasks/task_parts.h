// What several tasks share.
#pragma once

#include <span>

#include "evaluate/task.h"

namespace fathom {

// Opens one task each; the file has the task's name.
Result<Task> open_boolq(const TaskOptions& options);
Result<Task> open_ceval(const TaskOptions& options);
Result<Task> open_cmmlu(const TaskOptions& options);
Result<Task> open_mmlu(const TaskOptions& options);
Result<Task> open_gsm8k(const TaskOptions& options);
Result<Task> open_humaneval(const TaskOptions& options);
Result<Task> open_truthfulqa_mc(const TaskOptions& options);
Result<Task> open_perplexity(const TaskOptions& options);
Result<Task> open_needle(const TaskOptions& options);
Result<Task> open_longbench(const TaskOptions& options);
Result<Task> open_longbench_e(const TaskOptions& options);

// A task without subjects: one subject of its name.
Task plain_task(std::string name, std::string version, size_t num_available);
// Refuses subjects and shots where a task has none.
Status refuse_subjects(std::string_view task, const TaskOptions& options);
Status refuse_shots(std::string_view task, const TaskOptions& options);
// The number of questions to take of so many.
size_t limited(const TaskOptions& options, size_t count);

// The first of the largest; values is not empty.
size_t index_of_largest(std::span<const double> values);

// acc: the likeliest choice is right. acc_norm: the likeliest by log-probability per character of the choice,
// without the space that joins it to the prompt. For queries of continuations " choice".
Result<Score> judge_acc(const Example& example, const Answer& answer);
Result<Score> judge_acc_and_norm(const Example& example, const Answer& answer);

}  // namespace fathom
