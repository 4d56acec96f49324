// MMLU: English examinations, 57 subjects in four groups.
#include "evaluate/plain_text.h"
#include "evaluate/tasks/exam_tasks.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

ExamFiles mmlu_files() {
  return {.info = {"MMLU",
                   "folders dev and test of csv mmlu_files: question, A, B, C, D, answer, without a header",
                   "data.tar of hendrycks/test"},
          .shots = {"mmlu/dev/{}_dev.csv", "mmlu/data/dev/{}_dev.csv"},
          .questions = {"mmlu/test/{}_test.csv", "mmlu/data/test/{}_test.csv"},
          .has_header = false};
}

std::string words_of(const ExamSubject& subject) { return replace_all(subject.key, "_", " "); }

std::string mmlu_zero_shot_prompt(const ExamSubject& subject, const ExamQuestion& question) {
  return fmt::format(
      "\nThere is a single choice question about {}. Answer the question by replying A, B, C or D.\n{}\n{}\n"
      "Let's think step by step. Answer: ",
      words_of(subject), question.question, option_lines(question));
}

Result<Query> mmlu_harness_query(const ExamSubject& subject, const ExamQuestion& question) {
  const std::string description = fmt::format(
      "The following are multiple choice questions (with answers) about {}.\n\n", words_of(subject));
  return harness_exam_query(harness_exam_prompt(description, "Answer:", subject.shots, question));
}

}  // namespace

Result<Task> open_mmlu(const TaskOptions& options) {
  const bool is_harness = options.style == PromptStyle::kHarness;
  Task task;
  task.name = "mmlu";
  task.num_shots = options.num_shots.value_or(is_harness ? 0 : 5);
  FATHOM_ASSIGN_OR_RETURN(const auto subjects, read_exam(mmlu_files(), mmlu_subjects(), options,
                                                         static_cast<size_t>(task.num_shots)));
  MakeExamQuery make_query = mmlu_harness_query;
  if (is_harness) {
    task.version = "2";
    task.metrics = {{.name = "acc"}};
    task.judge = judge_acc;
  } else {
    FATHOM_ASSIGN_OR_RETURN(make_query, use_modeltest_exam(mmlu_zero_shot_prompt, task));
  }
  FATHOM_RETURN_IF_ERROR(add_exam(subjects, "mmlu_", make_query, task));
  for (size_t i = 0; i < subjects.size(); ++i) {
    task.subjects[i].group = fmt::format("mmlu_{}", subjects[i].name);
  }
  return task;
}

}  // namespace fathom
