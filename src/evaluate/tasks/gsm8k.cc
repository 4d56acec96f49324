// GSM8K: word problems whose answer is a number.
#include <memory>

#include "evaluate/answer_extraction.h"
#include "evaluate/dataset_files.h"
#include "evaluate/plain_text.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

constexpr DatasetInfo kGsm8kInfo = {"GSM8K", "one JSON object a line with \"question\" and \"answer\"",
                                    "train.jsonl and test.jsonl of openai/grade-school-math"};
constexpr int64_t kHarnessShots = 5;
constexpr int64_t kGsm8kHarnessTokens = 256;
constexpr int64_t kGsm8kModeltestTokens = 512;

std::string harness_text(const std::string& question) {
  return fmt::format("Question: {}\nAnswer:", question);
}

// The first examples of the training set.
Result<std::string> shots_text(const DatasetFolder& folder, int64_t num_shots) {
  std::string text;
  if (num_shots == 0) return text;
  const auto path = folder.find({"gsm8k/train.jsonl", "gsm8k_train.jsonl"});
  if (!path.ok()) return not_found("{}; --shots 0 needs no training set", path.status().message());
  FATHOM_ASSIGN_OR_RETURN(const auto lines, folder.read_json_lines(*path));
  if (static_cast<int64_t>(lines.size()) < num_shots)
    return invalid_argument("--shots: {} are wanted and {} has {}", num_shots, *path, lines.size());
  for (int64_t i = 0; i < num_shots; ++i) {
    const auto& line = lines[static_cast<size_t>(i)];
    FATHOM_ASSIGN_OR_RETURN(const std::string question, folder.text_field(line, "question"));
    FATHOM_ASSIGN_OR_RETURN(const std::string answer, folder.text_field(line, "answer"));
    text += fmt::format("{} {}\n\n", harness_text(question), answer);
  }
  return text;
}

// strict: what follows "#### "; flexible: the last number. A text without any is "[invalid]".
Result<Score> judge_harness(const NumberExtractor& numbers, const Example& example, const Answer& answer) {
  constexpr const char* kNone = "[invalid]";
  const std::string want = comparable_number(example.golden);
  const std::string strict = numbers.after_mark(answer.text).value_or(kNone);
  const std::string flexible(strip(numbers.last(answer.text).value_or(kNone)));
  const double strict_match = comparable_number(strict) == want ? 1 : 0;
  const double flexible_match = comparable_number(flexible) == want ? 1 : 0;
  return Score{.values = {strict_match, flexible_match}, .result = flexible, .pass = flexible_match};
}

Result<Score> judge_modeltest(const NumberExtractor& numbers, const Example& example, const Answer& answer) {
  const std::string got = numbers.last_plain(answer.text).value_or("");
  const double acc = numbers_close(numbers.last_plain(example.golden).value_or(""), got) ? 1 : 0;
  return Score{.values = {acc}, .result = got, .pass = acc};
}

Query make_query(const std::string& shots, const std::string& question, PromptStyle style) {
  if (style == PromptStyle::kModeltest)
    return {.kind = QueryKind::kGenerate, .prompt = question, .max_tokens = kGsm8kModeltestTokens};
  return {.kind = QueryKind::kGenerate,
          .prompt = shots + harness_text(question),
          .until = {"Question:", "</s>", "<|im_end|>"},
          .max_tokens = kGsm8kHarnessTokens};
}

}  // namespace

Result<Task> open_gsm8k(const TaskOptions& options) {
  FATHOM_RETURN_IF_ERROR(refuse_subjects("gsm8k", options));
  const bool is_harness = options.style == PromptStyle::kHarness;
  if (!is_harness) FATHOM_RETURN_IF_ERROR(refuse_shots("gsm8k in style modeltest", options));
  const DatasetFolder folder(options.data_dir, kGsm8kInfo);
  FATHOM_ASSIGN_OR_RETURN(const std::string path,
                          folder.find({"gsm8k/test.jsonl", "gsm8k_test.jsonl", "gsm8k/GSM8K.jsonl"}));
  FATHOM_ASSIGN_OR_RETURN(const auto lines, folder.read_json_lines(path));
  Task task = plain_task("gsm8k", is_harness ? "3.0" : "1.0", lines.size());
  task.num_shots = is_harness ? options.num_shots.value_or(kHarnessShots) : 0;
  FATHOM_ASSIGN_OR_RETURN(const std::string shots, shots_text(folder, task.num_shots));
  FATHOM_ASSIGN_OR_RETURN(NumberExtractor made, NumberExtractor::create());
  const auto numbers = std::make_shared<NumberExtractor>(std::move(made));
  task.metrics = {{.name = "acc"}};
  if (is_harness)
    task.metrics = {{.name = "exact_match", .filter = "strict-match"},
                    {.name = "exact_match", .filter = "flexible-extract"}};
  task.judge = [numbers, is_harness](const Example& example, const Answer& answer) {
    return is_harness ? judge_harness(*numbers, example, answer) : judge_modeltest(*numbers, example, answer);
  };
  for (size_t i = 0; i < limited(options, lines.size()); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const std::string question, folder.text_field(lines[i], "question"));
    FATHOM_ASSIGN_OR_RETURN(std::string answer, folder.text_field(lines[i], "answer"));
    task.examples.push_back(
        {.query = make_query(shots, question, options.style), .golden = std::move(answer)});
  }
  return task;
}

}  // namespace fathom
