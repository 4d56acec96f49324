// HumanEval: function bodies, judged by running them in a sandbox.
#include <memory>

#include "evaluate/answer_extraction.h"
#include "evaluate/dataset_files.h"
#include "evaluate/plain_text.h"
#include "evaluate/sandbox.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

constexpr DatasetInfo kHumanevalInfo = {
    "HumanEval", "one JSON object a line with \"task_id\", \"prompt\", \"entry_point\" and \"test\"",
    "HumanEval.jsonl of openai/human-eval"};
constexpr int64_t kHumanevalHarnessTokens = 1024;
constexpr int64_t kHumanevalModeltestTokens = 512;

struct Problem {
  std::string prompt;
  std::string test;  // what follows the completed function
};

Result<Problem> parse_problem(const DatasetFolder& folder, const DatasetFolder::Line& line) {
  Problem problem;
  FATHOM_ASSIGN_OR_RETURN(problem.prompt, folder.text_field(line, "prompt"));
  FATHOM_ASSIGN_OR_RETURN(const std::string test, folder.text_field(line, "test"));
  FATHOM_ASSIGN_OR_RETURN(const std::string entry_point, folder.text_field(line, "entry_point"));
  problem.test = fmt::format("{}\ncheck({})", test, entry_point);
  return problem;
}

Query make_query(const Problem& problem, PromptStyle style) {
  if (style == PromptStyle::kModeltest) {
    return {.kind = QueryKind::kGenerate,
            .prompt = std::string(strip(problem.prompt)),
            .max_tokens = kHumanevalModeltestTokens};
  }
  return {.kind = QueryKind::kGenerate,
          .prompt = problem.prompt,
          .until = {"\nclass", "\ndef", "\n#", "\nif", "\nprint"},
          .max_tokens = kHumanevalHarnessTokens};
}

}  // namespace

Result<Task> open_humaneval(const TaskOptions& options) {
  FATHOM_RETURN_IF_ERROR(refuse_subjects("humaneval", options));
  FATHOM_RETURN_IF_ERROR(refuse_shots("humaneval", options));
  const bool is_harness = options.style == PromptStyle::kHarness;
  const DatasetFolder folder(options.data_dir, kHumanevalInfo);
  FATHOM_ASSIGN_OR_RETURN(
      const std::string path,
      folder.find({"humaneval/HumanEval.jsonl", "humaneval/human-eval.jsonl", "HumanEval.jsonl"}));
  FATHOM_ASSIGN_OR_RETURN(const auto lines, folder.read_json_lines(path));
  // Before hours of generating.
  FATHOM_RETURN_IF_ERROR(check_sandbox().with_context("humaneval runs what the model writes"));
  Task task = plain_task("humaneval", "1.0", lines.size());
  task.metrics = {{.name = "pass@1", .filter = is_harness ? "create_test" : "none"}};
  const auto problems = std::make_shared<std::vector<Problem>>();
  for (size_t i = 0; i < limited(options, lines.size()); ++i) {
    FATHOM_ASSIGN_OR_RETURN(Problem problem, parse_problem(folder, lines[i]));
    // No choices: what is right is the problem of this index.
    task.examples.push_back(
        {.query = make_query(problem, options.style), .right = {problems->size()}, .golden = problem.test});
    problems->push_back(std::move(problem));
  }
  task.judge = [is_harness, problems](const Example& example, const Answer& answer) -> Result<Score> {
    const Problem& problem = (*problems)[example.right[0]];
    const std::string completion = is_harness ? answer.text : function_body(answer.text);
    const std::string program = fmt::format("{}{}\n{}\n", problem.prompt, completion, problem.test);
    FATHOM_ASSIGN_OR_RETURN(const SandboxVerdict verdict, run_sandboxed(program, {}));
    const double pass = verdict == SandboxVerdict::kPassed ? 1 : 0;
    return Score{.values = {pass}, .result = completion, .pass = pass};
  };
  return task;
}

}  // namespace fathom
