// Examinations of four choices by subject: C-Eval, CMMLU and MMLU, which differ in files, words and rules.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "evaluate/dataset_files.h"
#include "evaluate/task.h"
#include "evaluate/tasks/few_shot.h"
#include "evaluate/tasks/subjects.h"

namespace fathom {

struct ExamQuestion {
  std::string question;
  std::array<std::string, 4> options;
  size_t answer = 0;  // index of the right option
};

// One subject's questions, and the examples that may stand before each.
struct ExamSubject {
  const char* key;
  const char* name;
  std::vector<ExamQuestion> shots = {};
  std::vector<ExamQuestion> questions = {};
  int64_t num_available = 0;  // questions in the file, whatever the limit
};

// Where the files are; {} is the subject's key.
struct ExamFiles {
  DatasetInfo info;
  std::vector<std::string> shots;      // relative paths, any of them
  std::vector<std::string> questions;  // the same
  bool has_header;                     // columns by name; else question, A, B, C, D, answer
};

// The subjects asked for, all where none is; num_shots examples of each, limit questions.
Result<std::vector<ExamSubject>> read_exam(const ExamFiles& files, std::span<const SubjectName> names,
                                           const TaskOptions& options, size_t num_shots);

// "A. ..", "B. .." and so on, a line each.
std::string option_lines(const ExamQuestion& question);
char answer_letter(const ExamQuestion& question);

// Prompts of the harness: description, examples and question in the same form, each ending with the cue.
std::string harness_exam_prompt(std::string_view description, std::string_view cue,
                                std::span<const ExamQuestion> shots, const ExamQuestion& question);
Query harness_exam_query(std::string prompt);

// Of modeltest, for C-Eval and MMLU: with examples an English header of the subject's key; the first
// character of the answer counts.
FewShotPrompt modeltest_exam_prompt(std::string_view key, std::span<const ExamQuestion> shots,
                                    const ExamQuestion& question);
Judge first_character_judge();
// Without examples: a reasoned answer, whose letter is looked for.
Result<Judge> letter_judge();

// New tokens of modeltest's answers, with and without examples.
inline constexpr int64_t kShortAnswerTokens = 20;
inline constexpr int64_t kReasonedAnswerTokens = 256;

}  // namespace fathom
