#include "evaluate/tasks/exam.h"

#include <algorithm>
#include <memory>

#include "evaluate/answer_extraction.h"
#include "evaluate/plain_text.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

constexpr std::string_view kLetters = "ABCD";

// Column of question, A, B, C, D, answer.
using Columns = std::array<size_t, 6>;

std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

Result<Columns> columns_of(const DatasetFolder& folder, const std::string& path, const CsvRow& header) {
  static constexpr const char* kNames[] = {"question", "a", "b", "c", "d", "answer"};
  Columns columns{};
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto found = std::find_if(header.begin(), header.end(),
                                    [&](const std::string& name) { return lower_case(name) == kNames[i]; });
    if (found == header.end()) return folder.malformed(path, fmt::format("no column \"{}\"", kNames[i]));
    columns[i] = static_cast<size_t>(found - header.begin());
  }
  return columns;
}

Result<ExamQuestion> question_of(const DatasetFolder& folder, const std::string& where, const CsvRow& row,
                                 const Columns& columns) {
  const size_t last = *std::max_element(columns.begin(), columns.end());
  if (row.size() <= last)
    return folder.malformed(where, fmt::format("{} columns, {} are needed", row.size(), last + 1));
  ExamQuestion question{.question = row[columns[0]], .options = {}, .answer = 0};
  for (size_t i = 0; i < question.options.size(); ++i) question.options[i] = row[columns[i + 1]];
  const std::string_view letter = strip(row[columns[5]]);
  question.answer = letter.size() == 1 ? kLetters.find(letter) : std::string_view::npos;
  if (question.answer == std::string_view::npos)
    return folder.malformed(where, fmt::format("the answer \"{}\" is none of A, B, C, D", letter));
  return question;
}

Result<std::vector<ExamQuestion>> read_questions(const DatasetFolder& folder, const std::string& path,
                                                 const ExamFiles& files) {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<CsvRow> rows, folder.read_csv(path));
  Columns columns = {0, 1, 2, 3, 4, 5};
  if (files.has_header) {
    FATHOM_ASSIGN_OR_RETURN(columns, columns_of(folder, path, rows[0]));
  }
  std::vector<ExamQuestion> questions;
  for (size_t i = files.has_header ? 1 : 0; i < rows.size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(ExamQuestion question,
                            question_of(folder, fmt::format("{} row {}", path, i + 1), rows[i], columns));
    questions.push_back(std::move(question));
  }
  if (questions.empty()) return folder.malformed(path, "no question");
  return questions;
}

std::vector<std::string> filled(const std::vector<std::string>& patterns, std::string_view key) {
  std::vector<std::string> names;
  for (const std::string& pattern : patterns) names.push_back(replace_all(pattern, "{}", key));
  return names;
}

Status check_subjects(std::span<const SubjectName> names, const std::vector<std::string>& wanted) {
  for (const std::string& subject : wanted) {
    const auto is_it = [&](const SubjectName& name) { return name.key == subject; };
    if (std::none_of(names.begin(), names.end(), is_it))
      return invalid_argument("--tasks: no subject \"{}\"; {} is one", subject, names[0].key);
  }
  return ok_status();
}

}  // namespace

Result<std::vector<ExamSubject>> read_exam(const ExamFiles& files, std::span<const SubjectName> names,
                                           const TaskOptions& options, size_t num_shots) {
  FATHOM_RETURN_IF_ERROR(check_subjects(names, options.subjects));
  const DatasetFolder folder(options.data_dir, files.info);
  std::vector<ExamSubject> subjects;
  for (const SubjectName& name : names) {
    const auto& wanted = options.subjects;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name.key) == wanted.end()) continue;
    ExamSubject subject{.key = name.key, .name = name.name};
    FATHOM_ASSIGN_OR_RETURN(const std::string path, folder.find(filled(files.questions, name.key)));
    FATHOM_ASSIGN_OR_RETURN(subject.questions, read_questions(folder, path, files));
    subject.num_available = static_cast<int64_t>(subject.questions.size());
    subject.questions.resize(limited(options, subject.questions.size()));
    if (num_shots > 0) {
      FATHOM_ASSIGN_OR_RETURN(const std::string shots_path, folder.find(filled(files.shots, name.key)));
      FATHOM_ASSIGN_OR_RETURN(subject.shots, read_questions(folder, shots_path, files));
      if (subject.shots.size() < num_shots) {
        return invalid_argument("--shots: {} are wanted and {} has {}", num_shots, shots_path,
                                subject.shots.size());
      }
      subject.shots.resize(num_shots);
    }
    subjects.push_back(std::move(subject));
  }
  return subjects;
}

std::string option_lines(const ExamQuestion& question) {
  std::string lines;
  for (size_t i = 0; i < question.options.size(); ++i) {
    lines += fmt::format("{}{}. {}", i == 0 ? "" : "\n", kLetters[i], question.options[i]);
  }
  return lines;
}

char answer_letter(const ExamQuestion& question) { return kLetters[question.answer]; }

std::string harness_exam_prompt(std::string_view description, std::string_view cue,
                                std::span<const ExamQuestion> shots, const ExamQuestion& question) {
  const auto text = [&](const ExamQuestion& item) {
    return fmt::format("{}\n{}\n{}", strip(item.question), option_lines(item), cue);
  };
  std::string prompt(description);
  for (const ExamQuestion& shot : shots) prompt += fmt::format("{} {}\n\n", text(shot), answer_letter(shot));
  return prompt + text(question);
}

Query harness_exam_query(std::string prompt) {
  return {
      .kind = QueryKind::kContinuations, .prompt = std::move(prompt), .choices = {" A", " B", " C", " D"}};
}

std::string modeltest_exam_prompt(std::string_view key, std::span<const ExamQuestion> shots,
                                  const ExamQuestion& question) {
  const auto text = [](const ExamQuestion& item) {
    return fmt::format("{}\n{}\nAnswer:", item.question, option_lines(item));
  };
  // The subject comes with a space of its own: two in a row.
  std::string prompt =
      fmt::format("The following are multiple choice questions (with answers) about  {}.\n\n",
                  replace_all(std::string(key), "_", " "));
  for (const ExamQuestion& shot : shots) prompt += fmt::format("{} {}\n\n", text(shot), answer_letter(shot));
  return prompt + text(question);
}

Judge first_character_judge() {
  return [](const Example& example, const Answer& answer) -> Result<Score> {
    std::string result(first_character(answer.text));
    const double acc = result == example.golden ? 1 : 0;
    return Score{.values = {acc}, .result = std::move(result), .pass = acc};
  };
}

Result<Judge> letter_judge() {
  FATHOM_ASSIGN_OR_RETURN(LetterExtractor made, LetterExtractor::create());
  const auto extractor = std::make_shared<LetterExtractor>(std::move(made));
  return Judge([extractor](const Example& example, const Answer& answer) -> Result<Score> {
    std::string result = extractor->extract(answer.text);
    const double acc = result == example.golden ? 1 : 0;
    return Score{.values = {acc}, .result = std::move(result), .pass = acc};
  });
}

}  // namespace fathom
