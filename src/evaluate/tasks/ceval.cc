// C-Eval: Chinese examinations, 52 subjects, scored on the questions whose answers are public (val).
#include "evaluate/tasks/exam_tasks.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

ExamFiles ceval_files() {
  return {.info = {"C-Eval",
                   "folders dev and val of csv ceval_files with the columns id, question, A, B, C, D, answer",
                   "ceval-exam.zip of hkust-nlp/ceval"},
          .shots = {"ceval/dev/{}_dev.csv"},
          .questions = {"ceval/val/{}_val.csv"},
          .has_header = true};
}

std::string ceval_zero_shot_prompt(const ExamSubject& subject, const ExamQuestion& question) {
  return fmt::format(
      "\n以下是中国关于{}考试的单项选择题，请选出其中的正确答案。\n{}\n{}\n让我们一步一步思考。答案: ",
      subject.name, question.question, option_lines(question));
}

Result<Query> ceval_harness_query(const ExamSubject& subject, const ExamQuestion& question) {
  const std::string description =
      fmt::format("以下是中国关于{}的单项选择题，请选出其中的正确答案。\n\n", subject.name);
  return harness_exam_query(harness_exam_prompt(description, "答案：", subject.shots, question));
}

}  // namespace

Result<Task> open_ceval(const TaskOptions& options) {
  const bool is_harness = options.style == PromptStyle::kHarness;
  Task task;
  task.name = is_harness ? "ceval-valid" : "ceval";
  task.num_shots = options.num_shots.value_or(is_harness ? 0 : 5);
  FATHOM_ASSIGN_OR_RETURN(const auto subjects, read_exam(ceval_files(), ceval_subjects(), options,
                                                         static_cast<size_t>(task.num_shots)));
  MakeExamQuery make_query = ceval_harness_query;
  if (is_harness) {
    task.version = "2.0";
    task.metrics = {{.name = "acc"}, {.name = "acc_norm"}};
    task.judge = judge_acc_and_norm;
  } else {
    FATHOM_ASSIGN_OR_RETURN(make_query, use_modeltest_exam(ceval_zero_shot_prompt, task));
  }
  FATHOM_RETURN_IF_ERROR(add_exam(subjects, task.name + "_", make_query, task));
  return task;
}

}  // namespace fathom
