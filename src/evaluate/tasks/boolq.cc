// BoolQ: yes or no to a question about a passage.
#include "evaluate/dataset_files.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

constexpr DatasetInfo kBoolqInfo = {
    "BoolQ",
    "one JSON object a line with \"question\", \"passage\", \"answer\" (true or false), and maybe \"title\"",
    "dev.jsonl of google-research-datasets/boolean-questions"};

// modeltest compares the last tokens of these.
constexpr const char* kYesSentence = "How can we learning machine learning: yes";
constexpr const char* kNoSentence = "How can we learning machine learning: no";

struct Question {
  std::string title;
  std::string passage;
  std::string question;
  bool answer = false;
};

Result<Question> parse_question(const DatasetFolder& folder, const DatasetFolder::Line& line) {
  Question question;
  FATHOM_ASSIGN_OR_RETURN(question.passage, folder.text_field(line, "passage"));
  FATHOM_ASSIGN_OR_RETURN(question.question, folder.text_field(line, "question"));
  if (line.value.contains("title")) {
    FATHOM_ASSIGN_OR_RETURN(question.title, folder.text_field(line, "title"));
  }
  const auto answer = line.value.find("answer");
  if (answer == line.value.end() || !answer->is_boolean())
    return folder.malformed(line.where, "\"answer\" is neither true nor false");
  question.answer = answer->get<bool>();
  return question;
}

Query make_query(const Question& question, PromptStyle style) {
  std::string prompt = fmt::format("{}\nQuestion: {}?\nAnswer:", question.passage, question.question);
  if (style == PromptStyle::kHarness) {
    return {.kind = QueryKind::kContinuations, .prompt = std::move(prompt), .choices = {" no", " yes"}};
  }
  if (!question.title.empty()) prompt = question.title + " -- " + prompt;
  return {.kind = QueryKind::kNextToken, .prompt = std::move(prompt), .choices = {kNoSentence, kYesSentence}};
}

// "yes" has to be the likelier; equal is "no".
Result<Score> judge(const Example& example, const Answer& answer) {
  const size_t chosen = index_of_largest(answer.logprobs);
  const double acc = chosen == example.right[0] ? 1 : 0;
  return Score{.values = {acc}, .result = chosen == 1 ? "True" : "False", .pass = acc};
}

}  // namespace

Result<Task> open_boolq(const TaskOptions& options) {
  FATHOM_RETURN_IF_ERROR(refuse_subjects("boolq", options));
  FATHOM_RETURN_IF_ERROR(refuse_shots("boolq", options));
  const DatasetFolder folder(options.data_dir, kBoolqInfo);
  FATHOM_ASSIGN_OR_RETURN(const std::string path,
                          folder.find({"boolq/dev.jsonl", "boolq_dev.jsonl", "boolq/boolq_dev.jsonl"}));
  FATHOM_ASSIGN_OR_RETURN(const auto lines, folder.read_json_lines(path));
  Task task = plain_task("boolq", options.style == PromptStyle::kHarness ? "2.0" : "1.0", lines.size());
  task.metrics = {{.name = "acc"}};
  task.judge = judge;
  for (size_t i = 0; i < limited(options, lines.size()); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const Question question, parse_question(folder, lines[i]));
    task.examples.push_back({.query = make_query(question, options.style),
                             .right = {question.answer ? size_t{1} : size_t{0}},
                             .golden = question.answer ? "True" : "False"});
  }
  return task;
}

}  // namespace fathom
