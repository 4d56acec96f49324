// How read examinations become tasks; what C-Eval, CMMLU and MMLU share beyond exam.h.
#pragma once

#include <functional>

#include "evaluate/tasks/exam.h"

namespace fathom {

using MakeExamQuery = std::function<Result<Query>(const ExamSubject& subject, const ExamQuestion& question)>;

// Subjects and examples of the task; subjects are called prefix + key.
Status add_exam(const std::vector<ExamSubject>& subjects, const std::string& prefix,
                const MakeExamQuery& make_query, Task& task);

// C-Eval and MMLU in modeltest's way: metrics, judge, and the query of a question.
// zero_shot_prompt: of a question without examples.
using ZeroShotPrompt = std::string (*)(const ExamSubject& subject, const ExamQuestion& question);
Result<MakeExamQuery> use_modeltest_exam(ZeroShotPrompt zero_shot_prompt, Task& task);

}  // namespace fathom
