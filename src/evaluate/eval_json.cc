// The harness' files: results and samples.
#include <ctime>

#include "evaluate/csv_table.h"
#include "evaluate/eval_report.h"
#include "evaluate/plain_text.h"

namespace fathom {
namespace {

Json or_not_available(const std::optional<double>& value) { return value ? Json(*value) : Json("N/A"); }

Json row_json(const ResultRow& row, const std::vector<Metric>& metrics) {
  Json json = {{"name", row.name}, {"alias", row.alias}, {"sample_len", row.num_examples}};
  for (size_t i = 0; i < metrics.size(); ++i) {
    json[metric_key(metrics[i])] = row.metrics[i].value;
    json[error_key(metrics[i])] = or_not_available(row.metrics[i].error);
  }
  return json;
}

// The same of every query decides the same answers.
std::string task_hash(const Task& task) {
  Query all;
  for (const Example& example : task.examples) all.choices.push_back(query_hash(example.query));
  return query_hash(all);
}

int64_t num_available(const Task& task, const std::string& subject_name) {
  for (const Subject& subject : task.subjects) {
    if (subject.name == subject_name) return subject.num_available;
  }
  return 0;
}

void add_task(const FinishedTask& finished, Json& json) {
  const Task& task = finished.task;
  for (const ResultRow& row : finished.rows) {
    json["results"][row.name] = row_json(row, task.metrics);
    json["versions"][row.name] = task.version;
    json["n-shot"][row.name] = task.num_shots;
    for (const Metric& metric : task.metrics) {
      json["higher_is_better"][row.name][metric.name] = higher_is_better(metric);
    }
    if (!row.members.empty()) {
      json["groups"][row.name] = json["results"][row.name];
      json["group_subtasks"][row.name] = row.members;
    } else {
      json["n-samples"][row.name] = {{"original", num_available(task, row.name)},
                                     {"effective", row.num_examples}};
      json["configs"][row.name] = {
          {"task", row.name}, {"num_fewshot", task.num_shots}, {"version", task.version}};
    }
  }
  json["task_hashes"][task.name] = task_hash(task);
}

}  // namespace

Json results_json(const std::vector<FinishedTask>& tasks, const EvalInfo& info) {
  Json json;
  for (const char* key : {"results", "groups", "group_subtasks", "configs", "versions", "n-shot",
                          "higher_is_better", "n-samples"}) {
    json[key] = Json::object();
  }
  json["config"] = info.config;
  json["git_hash"] = nullptr;
  json["date"] = info.start_time;
  json["fathom_version"] = info.version;
  json["prompt_style"] = info.style == PromptStyle::kHarness ? "harness" : "modeltest";
  json["task_hashes"] = Json::object();
  json["model_source"] = "fathom";
  json["model_name"] = info.model;
  json["model_name_sanitized"] = name_for_folder(info.model);
  json["chat_template"] = nullptr;
  json["chat_template_sha"] = nullptr;
  json["start_time"] = info.start_time;
  json["end_time"] = info.end_time;
  json["total_evaluation_time_seconds"] = fmt::format("{:.3f}", info.end_time - info.start_time);
  for (const FinishedTask& task : tasks) add_task(task, json);
  return json;
}

std::string samples_jsonl(const FinishedTask& finished) {
  const Task& task = finished.task;
  std::string lines;
  for (size_t i = 0; i < task.examples.size(); ++i) {
    const Example& example = task.examples[i];
    const ExampleResult& result = finished.results[i];
    Json arguments = Json::array(), responses = Json::array();
    for (size_t choice = 0; choice < example.query.choices.size(); ++choice) {
      arguments.push_back({example.query.prompt, example.query.choices[choice]});
      responses.push_back(result.answer.logprobs[choice]);
    }
    if (example.query.choices.empty()) {
      arguments.push_back({example.query.prompt,
                           {{"until", example.query.until}, {"max_gen_toks", example.query.max_tokens}}});
      responses.push_back(example.query.kind == QueryKind::kGenerate ? Json(result.answer.text)
                                                                     : Json(result.answer.logprobs[0]));
    }
    Json line = {{"doc_id", i},
                 {"task", task.subjects[example.subject].name},
                 {"target", example.golden},
                 {"arguments", arguments},
                 {"resps", responses},
                 {"filtered_resps", {result.score.result}},
                 {"doc_hash", query_hash(example.query)}};
    for (size_t metric = 0; metric < task.metrics.size(); ++metric) {
      line[metric_key(task.metrics[metric])] = result.score.values[metric];
    }
    lines += dump_json(line) + "\n";
  }
  return lines;
}

std::string cases_csv(const FinishedTask& finished) {
  std::string csv = "key,queries,input_token_ids,output_token_ids,test_result,golden_result,pass\n";
  for (size_t i = 0; i < finished.results.size(); ++i) {
    const Example& example = finished.task.examples[i];
    const ExampleResult& result = finished.results[i];
    const double pass = result.score.pass;
    csv += fmt::format("{},{},{},{},{},{},{}\n", i, csv_field(example.query.prompt),
                       csv_field(dump_json(result.answer.prompt_ids)),
                       csv_field(dump_json(result.answer.output_ids)), csv_field(result.score.result),
                       csv_field(example.golden),
                       pass == 1   ? "True"
                       : pass == 0 ? "False"
                                   : fmt::format("{}", pass));
  }
  return csv;
}

std::string time_for_file_name(double seconds_since_1970) {
  const auto whole = static_cast<std::time_t>(seconds_since_1970);
  std::tm parts{};
  ::gmtime_r(&whole, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string name_for_folder(std::string_view model) {
  std::string name;
  for (char c : replace_all(std::string(model), "/", "__")) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       c == '-' || c == '_' || c == '.';
    name += plain ? c : '_';
  }
  return name;
}

}  // namespace fathom
