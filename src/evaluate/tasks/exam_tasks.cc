#include "evaluate/tasks/exam_tasks.h"

namespace fathom {

Status add_exam(const std::vector<ExamSubject>& subjects, const std::string& prefix,
                const MakeExamQuery& make_query, Task& task) {
  for (const ExamSubject& subject : subjects) {
    task.subjects.push_back({prefix + subject.key, subject.key, "", subject.num_available});
    for (const ExamQuestion& question : subject.questions) {
      FATHOM_ASSIGN_OR_RETURN(Query query, make_query(subject, question));
      task.examples.push_back({.subject = task.subjects.size() - 1,
                               .query = std::move(query),
                               .right = {question.answer},
                               .golden = std::string(1, answer_letter(question))});
    }
  }
  return ok_status();
}

Result<MakeExamQuery> use_modeltest_exam(ZeroShotPrompt zero_shot_prompt, Task& task) {
  task.version = "1.0";
  task.metrics = {{.name = "acc"}};
  if (task.num_shots > 0) {
    task.judge = first_character_judge();
    return MakeExamQuery([](const ExamSubject& subject, const ExamQuestion& question) -> Result<Query> {
      const FewShotPrompt prompt = modeltest_exam_prompt(subject.key, subject.shots, question);
      return Query{.kind = QueryKind::kGenerate,
                   .prompt = as_text(prompt),
                   .turns = as_turns(prompt),
                   .max_tokens = kShortAnswerTokens};
    });
  }
  FATHOM_ASSIGN_OR_RETURN(task.judge, letter_judge());
  return MakeExamQuery(
      [zero_shot_prompt](const ExamSubject& subject, const ExamQuestion& question) -> Result<Query> {
        return Query{.kind = QueryKind::kGenerate,
                     .prompt = zero_shot_prompt(subject, question),
                     .max_tokens = kReasonedAnswerTokens};
      });
}

}  // namespace fathom
