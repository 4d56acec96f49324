#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/eval_source.h"
#include "cli/with_ranks.h"
#include "evaluate/eval_report.h"
#include "evaluate/eval_run.h"
#include "text/chat_template.h"

namespace fathom {
namespace {

constexpr const char* kEvalExamples = R"(Examples:
  fathom eval models/demo --tasks boolq --data /data/eval --limit 100
  fathom eval /models/v2-lite --tasks ceval,cmmlu --shots 5 --data /data/eval --out runs/lite
  fathom eval /models/v2-lite --tasks ceval,cmmlu --shots 5 --data /data/eval --out runs/lite --resume
  fathom eval /models/v2-lite --tasks ceval:law,ceval:logic --style modeltest --batch 8 --data /data/eval
  fathom eval /models/v2-lite --url http://127.0.0.1:8000 --tasks gsm8k --data /data/eval    asks a running server
  fathom eval /models/v2-lite --tasks perplexity --data mine --max-model-len 4k     mine/perplexity/*.txt

Data sets do not come with fathom: a task whose files are not below --data says which it wants and who publishes them
(docs/evaluation.md has the list). --out gets the harness' results and samples, a csv of cases and a page; while a run
goes on, its progress.jsonl is what --resume starts from.)";

struct EvalFlags {
  EngineFlags engine;
  UrlFlags url;
  std::vector<std::string> tasks;
  std::string data;
  std::string style = "harness";
  std::string out;
  int64_t shots = 0;
  int64_t limit = 0;
  std::optional<int64_t> batch;
  bool chat = false;
  bool resume = false;
  bool json = false;
};

struct GivenEval {
  CLI::Option* shots = nullptr;
  CLI::Option* limit = nullptr;
  CLI::Option* url = nullptr;
};

struct WantedTask {
  std::string name;
  std::vector<std::string> subjects;  // empty: all
};

// "ceval:law" and "ceval:logic" are one task with two subjects.
std::vector<WantedTask> parse_tasks(const std::vector<std::string>& texts) {
  std::vector<WantedTask> tasks;
  for (const std::string& text : texts) {
    const size_t colon = text.find(':');
    const std::string name = text.substr(0, colon);
    auto task =
        std::find_if(tasks.begin(), tasks.end(), [&](const WantedTask& one) { return one.name == name; });
    if (task == tasks.end()) task = tasks.insert(tasks.end(), {name, {}});
    if (colon != std::string::npos) task->subjects.push_back(text.substr(colon + 1));
  }
  return tasks;
}

TaskOptions task_options(const EvalFlags& options, const GivenEval& given, const EvalSource& source) {
  TaskOptions task{.data_dir = options.data};
  task.style = options.style == "harness" ? PromptStyle::kHarness : PromptStyle::kModeltest;
  if (given.shots->count() > 0) task.num_shots = options.shots;
  if (given.limit->count() > 0) task.limit = options.limit;
  task.tokenizer = source.tokenizer;
  task.max_model_len = source.max_model_len;
  return task;
}

// Each prompt as the turns it has, or as one of the user's.
Status put_through_template(const std::string& model, Task& task) {
  FATHOM_ASSIGN_OR_RETURN(const auto chat_template, ChatTemplate::load(model));
  for (Example& example : task.examples) {
    Query& query = example.query;
    if (query.kind == QueryKind::kWholeText) {
      return invalid_argument("--chat: {} scores texts as they are; they are no questions", task.name);
    }
    if (query.is_plain) continue;
    if (query.turns.empty()) query.turns = {{"user", query.prompt}};
    Json turns = Json::array();
    for (const ChatTurn& turn : query.turns)
      turns.push_back({{"role", turn.role}, {"content", turn.content}});
    FATHOM_ASSIGN_OR_RETURN(query.prompt, chat_template->render(turns));
  }
  return ok_status();
}

Result<std::vector<Task>> open_tasks(const EvalFlags& options, TaskOptions task_options) {
  std::vector<Task> tasks;
  for (const WantedTask& wanted : parse_tasks(options.tasks)) {
    task_options.subjects = wanted.subjects;
    FATHOM_ASSIGN_OR_RETURN(Task task, open_task(wanted.name, task_options));
    if (options.chat) FATHOM_RETURN_IF_ERROR(put_through_template(options.engine.model, task));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

// What decides the answers, for results and for --resume.
Json setup_json(const EvalFlags& options, const GivenEval& given, const EvalSource& source) {
  Json setup = {{"model", options.engine.model},
                {"tasks", options.tasks},
                {"data", options.data},
                {"style", options.style},
                {"chat", options.chat},
                {"shots", given.shots->count() > 0 ? Json(options.shots) : Json(nullptr)},
                {"limit", given.limit->count() > 0 ? Json(options.limit) : Json(nullptr)}};
  setup.update(source.setup);
  setup.update({{"max_model_len", source.max_model_len}, {"fathom", FATHOM_VERSION}});
  return setup;
}

// All files of a finished run.
Status write_files(const EvalFlags& options, const std::vector<FinishedTask>& tasks, const EvalInfo& info) {
  const std::string folder = join_path(options.out, name_for_folder(options.engine.model));
  FATHOM_RETURN_IF_ERROR(make_directories(folder));
  const std::string time = time_for_file_name(info.start_time);
  const auto path = [&](std::string_view kind, std::string_view ending) {
    return join_path(folder, fmt::format("{}_{}.{}", kind, time, ending));
  };
  FATHOM_RETURN_IF_ERROR(write_file(path("results", "json"), dump_json(results_json(tasks, info), 2) + "\n"));
  FATHOM_RETURN_IF_ERROR(write_file(path("report", "html"), results_html(tasks, info)));
  for (const FinishedTask& task : tasks) {
    const std::string& name = task.task.name;
    FATHOM_RETURN_IF_ERROR(write_file(path("samples_" + name, "jsonl"), samples_jsonl(task)));
    FATHOM_RETURN_IF_ERROR(write_file(path("cases_" + name, "csv"), cases_csv(task)));
  }
  return ok_status();
}

Result<std::vector<FinishedTask>> run_tasks(std::vector<Task> tasks, Scorer& scorer, EvalJournal* journal) {
  std::vector<FinishedTask> finished;
  ProgressBar progress(ProgressUnit::kSteps);
  for (Task& task : tasks) {
    FATHOM_ASSIGN_OR_RETURN(std::vector<ExampleResult> results, run_task(task, scorer, journal, &progress));
    std::vector<Score> scores;
    for (const ExampleResult& result : results) scores.push_back(result.score);
    std::vector<ResultRow> rows = summarise(task, scores);
    finished.push_back({std::move(task), std::move(results), std::move(rows)});
  }
  return finished;
}

Result<std::unique_ptr<EvalJournal>> open_journal(const EvalFlags& options, const Json& setup) {
  if (options.out.empty()) return std::unique_ptr<EvalJournal>();
  FATHOM_RETURN_IF_ERROR(make_directories(options.out));
  return EvalJournal::open(join_path(options.out, "progress.jsonl"), setup,
                           options.resume ? Resume::kYes : Resume::kNo);
}

Status evaluate(const EvalFlags& options, const GivenEval& given, const EvalSource& source) {
  const TaskOptions with = task_options(options, given, source);
  FATHOM_ASSIGN_OR_RETURN(std::vector<Task> tasks, open_tasks(options, with));
  const Json setup = setup_json(options, given, source);
  FATHOM_ASSIGN_OR_RETURN(const auto journal, open_journal(options, setup));
  EvalInfo info{
      .model = options.engine.model, .style = with.style, .config = setup, .version = FATHOM_VERSION};
  info.start_time = static_cast<double>(std::time(nullptr));
  const double started = monotonic_seconds();
  FATHOM_ASSIGN_OR_RETURN(const auto finished, run_tasks(std::move(tasks), *source.scorer, journal.get()));
  info.end_time = info.start_time + (monotonic_seconds() - started);
  if (journal != nullptr) {
    FATHOM_RETURN_IF_ERROR(write_files(options, finished, info));
    FATHOM_RETURN_IF_ERROR(journal->remove());
  }
  if (options.json) {
    print_json(results_json(finished, info));
  } else {
    print_text(results_table(finished, with.style));
  }
  return ok_status();
}

Status evaluate(const EvalFlags& options, const GivenEval& given) {
  if (given.url->count() > 0) {
    FATHOM_ASSIGN_OR_RETURN(const EvalSource source,
                            eval_by_server(options.engine, options.url, options.batch));
    return evaluate(options, given, source);
  }
  EngineFlags flags = options.engine;
  if (options.batch) flags.max_num_seqs = *options.batch;
  return with_engine(flags, [&](Engine& engine) -> Status {
    FATHOM_ASSIGN_OR_RETURN(const EvalSource source, eval_by_engine(engine, flags, options.batch));
    return evaluate(options, given, source);
  });
}

// With --url the engine is the server's, without it there is no server.
Status check_options(const CLI::App& command, const GivenEval& given) {
  const bool asks_server = given.url->count() > 0;
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_name();
    if (option->count() == 0 || name == "--max-model-len" || name == "--max-num-seqs") continue;
    if (asks_server && option->get_group() == kEngineGroup)
      return invalid_argument("{}: is the server's affair, with --url", name);
    if (!asks_server && option->get_group() == kServerGroup) return invalid_argument("{}: wants --url", name);
  }
  return ok_status();
}

}  // namespace

void add_eval_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<EvalFlags>();
  CLI::App* command =
      app.add_subcommand("eval", "benchmarks, scored as lm-evaluation-harness or modeltest do");
  command->footer(kEvalExamples);
  add_engine_flags(*command, options->engine);
  GivenEval given;
  given.url = add_url_flags(*command, options->url);
  command
      ->add_option(
          "--tasks", options->tasks,
          fmt::format("{}; ceval, cmmlu and mmlu also by subject, ceval:law", fmt::join(task_names(), ", ")))
      ->required()
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--data", options->data, "folder with the data sets")->required();
  command->add_option("--style", options->style, "whose prompts and rules")
      ->check(CLI::IsMember({"harness", "modeltest"}))
      ->capture_default_str();
  given.shots =
      command->add_option("--shots", options->shots, "examples before each question (default: the style's)")
          ->check(CLI::Range(0, 100));
  given.limit = command->add_option("--limit", options->limit, "only the first questions of each subject")
                    ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  command->add_option("--batch", options->batch, "questions computed together; the same as --max-num-seqs")
      ->check(CLI::Range(1, 4096));
  command->add_flag("--chat", options->chat, "put each prompt through the chat template");
  CLI::Option* out =
      command->add_option("--out", options->out, "folder for results, made where it is missing");
  command->add_flag("--resume", options->resume, "go on with the run in --out that did not end")->needs(out);
  command->add_flag("--json", options->json, "print one JSON document: the harness' results");
  command->callback([options, given, command, &exit_status] {
    Status status = check_options(*command, given);
    if (status.ok()) status = evaluate(*options, given);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
