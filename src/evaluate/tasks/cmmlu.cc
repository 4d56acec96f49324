// CMMLU: Chinese examinations, 67 subjects.
#include <algorithm>

#include "evaluate/pair_encoding.h"
#include "evaluate/tasks/exam_tasks.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

// modeltest leaves examples out, the longest first, until a prompt has fewer tokens.
constexpr size_t kMaxPromptTokens = 2048;

ExamFiles cmmlu_files() {
  return {.info = {"CMMLU",
                   "folders dev and test of csv cmmlu_files with the columns Question, A, B, C, D, Answer",
                   "cmmlu_v1_0_1.zip of haonan-li/CMMLU"},
          .shots = {"cmmlu/dev/{}.csv"},
          .questions = {"cmmlu/test/{}.csv"},
          .has_header = true};
}

std::string header(const ExamSubject& subject) {
  return fmt::format("以下是关于{}的单项选择题，请直接给出正确答案的选项。\n\n", subject.name);
}

Result<Query> cmmlu_harness_query(const ExamSubject& subject, const ExamQuestion& question) {
  return harness_exam_query(harness_exam_prompt(header(subject), "答案：", subject.shots, question));
}

std::string modeltest_item(const ExamQuestion& question) {
  return fmt::format("题目：{}\n{}\n答案是：", question.question, option_lines(question));
}

using SizedShot = std::pair<size_t, FewShotPrompt::Shot>;  // with its tokens

// Leaves out the longest (all of that length) until the rest has fewer than most tokens.
void drop_longest(std::vector<SizedShot>& shots, size_t most) {
  const auto total = [&] {
    size_t sum = 0;
    for (const auto& [num_tokens, shot] : shots) sum += num_tokens;
    return sum;
  };
  while (!shots.empty() && total() >= most) {
    size_t longest = 0;
    for (const auto& [num_tokens, shot] : shots) longest = std::max(longest, num_tokens);
    std::erase_if(shots, [&](const SizedShot& shot) { return shot.first == longest; });
  }
}

Result<FewShotPrompt> modeltest_prompt(const ExamSubject& subject, const ExamQuestion& question,
                                       const Tokenizer& tokenizer) {
  FewShotPrompt prompt{.header = header(subject), .question = modeltest_item(question), .gap = ""};
  FATHOM_ASSIGN_OR_RETURN(const auto header_ids, encode_prompt(tokenizer, prompt.header));
  FATHOM_ASSIGN_OR_RETURN(const auto item_ids, encode_prompt(tokenizer, prompt.question));
  const size_t fixed = header_ids.size() + item_ids.size();
  if (fixed > kMaxPromptTokens) {
    prompt.header.clear();
    return prompt;
  }
  std::vector<SizedShot> shots;
  for (const ExamQuestion& one : subject.shots) {
    FewShotPrompt::Shot shot{modeltest_item(one), std::string(1, answer_letter(one))};
    FATHOM_ASSIGN_OR_RETURN(const auto ids,
                            encode_prompt(tokenizer, fmt::format("{}{}\n\n", shot.question, shot.answer)));
    shots.emplace_back(ids.size(), std::move(shot));
  }
  drop_longest(shots, kMaxPromptTokens - fixed);
  for (auto& [num_tokens, shot] : shots) prompt.shots.push_back(std::move(shot));
  return prompt;
}

}  // namespace

Result<Task> open_cmmlu(const TaskOptions& options) {
  const bool is_harness = options.style == PromptStyle::kHarness;
  Task task;
  task.name = "cmmlu";
  task.version = "1.0";
  task.num_shots = options.num_shots.value_or(is_harness ? 0 : 5);
  FATHOM_ASSIGN_OR_RETURN(const auto subjects, read_exam(cmmlu_files(), cmmlu_subjects(), options,
                                                         static_cast<size_t>(task.num_shots)));
  MakeExamQuery make_query = cmmlu_harness_query;
  if (is_harness) {
    task.metrics = {{.name = "acc"}, {.name = "acc_norm"}};
    task.judge = judge_acc_and_norm;
  } else {
    task.metrics = {{.name = "acc"}};
    task.judge = judge_acc;
    make_query = [&options](const ExamSubject& subject, const ExamQuestion& question) -> Result<Query> {
      FATHOM_ASSIGN_OR_RETURN(const FewShotPrompt prompt,
                              modeltest_prompt(subject, question, *options.tokenizer));
      return Query{.kind = QueryKind::kNextToken,
                   .prompt = as_text(prompt),
                   .turns = as_turns(prompt),
                   .choices = {"A", "B", "C", "D"}};
    };
  }
  FATHOM_RETURN_IF_ERROR(add_exam(subjects, "cmmlu_", make_query, task));
  return task;
}

}  // namespace fathom
