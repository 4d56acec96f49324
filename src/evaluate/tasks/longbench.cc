// LongBench: questions about long texts, 21 data sets in English, Chinese and code; LongBench-E: 13 of them
// with lengths evenly spread, scored by length. Prompts and the lengths of answers come with the data.
#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "evaluate/dataset_files.h"
#include "evaluate/longbench_scores.h"
#include "evaluate/pair_encoding.h"
#include "evaluate/plain_text.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

constexpr DatasetInfo kLongbenchInfo = {
    "LongBench",
    "data/*.jsonl with \"input\", \"context\", \"answers\", \"all_classes\", "
    "\"length\" a line, and config/ with "
    "dataset2prompt.json and dataset2maxlen.json",
    "data.zip and config of THUDM/LongBench"};
constexpr int64_t kLongbenchModeltestTokens = 256;
constexpr int64_t kModeltestPromptTokens = 76839;

// What a scorer has besides the two texts.
struct Aids {
  const std::vector<std::string>& classes;
  const ChineseWords& words;
};

using ScoreOne = double (*)(std::string_view answer, std::string_view truth, const Aids& aids);

double english_f1(std::string_view answer, std::string_view truth, const Aids&) {
  return answer_f1(answer, truth);
}
double chinese_f1(std::string_view answer, std::string_view truth, const Aids& aids) {
  return chinese_answer_f1(answer, truth, aids.words);
}
double english_rouge(std::string_view answer, std::string_view truth, const Aids&) {
  return rouge_l(answer, truth);
}
double chinese_rouge(std::string_view answer, std::string_view truth, const Aids& aids) {
  return chinese_rouge_l(answer, truth, aids.words);
}
double classes(std::string_view answer, std::string_view truth, const Aids& aids) {
  return class_score(answer, truth, aids.classes);
}
double paragraph(std::string_view answer, std::string_view truth, const Aids&) {
  return number_share(answer, number_after(truth, "Paragraph "));
}
double chinese_paragraph(std::string_view answer, std::string_view truth, const Aids&) {
  return number_share(answer, number_after(truth, "段落"));
}
double count(std::string_view answer, std::string_view truth, const Aids&) {
  return number_share(answer, truth);
}
double code(std::string_view answer, std::string_view truth, const Aids&) {
  return code_likeness(answer, truth);
}

enum class Part { kWhole, kFirstLine };  // of an answer, that is scored
enum class InE { kNo, kYes };            // whether LongBench-E has the data set
enum class Chat { kYes, kNo };           // whether a chat template may be put around the prompt

struct DataSet {
  const char* key;
  ScoreOne score;
  Part part = Part::kWhole;
  InE in_e = InE::kNo;
  Chat chat = Chat::kYes;
};

constexpr auto kLine = Part::kFirstLine;
constexpr auto kE = InE::kYes;
// Examples or code that the answer goes on from.
constexpr auto kPlain = Chat::kNo;
constexpr DataSet kDataSets[] = {
    {"narrativeqa", english_f1},
    {"qasper", english_f1, {}, kE},
    {"multifieldqa_en", english_f1, {}, kE},
    {"multifieldqa_zh", chinese_f1},
    {"hotpotqa", english_f1, {}, kE},
    {"2wikimqa", english_f1, {}, kE},
    {"musique", english_f1},
    {"dureader", chinese_rouge},
    {"gov_report", english_rouge, {}, kE},
    {"qmsum", english_rouge},
    {"multi_news", english_rouge, {}, kE},
    {"vcsum", chinese_rouge},
    {"trec", classes, kLine, kE, kPlain},
    {"triviaqa", english_f1, kLine, kE, kPlain},
    {"samsum", english_rouge, kLine, kE, kPlain},
    {"lsht", classes, kLine, {}, kPlain},
    {"passage_count", count, {}, kE},
    {"passage_retrieval_en", paragraph, {}, kE},
    {"passage_retrieval_zh", chinese_paragraph},
    {"lcc", code, {}, kE, kPlain},
    {"repobench-p", code, {}, kE, kPlain},
};

// What is right for an example.
struct Truth {
  const DataSet* set = nullptr;
  std::vector<std::string> answers;
  std::vector<std::string> classes;
};

struct LengthClass {
  const char* name;
  int64_t below;
};
constexpr std::array<LengthClass, 3> kLengthClasses = {{{"0-4k", 4000}, {"4-8k", 8000}, {"8k+", INT64_MAX}}};

// What all data sets share. Borrowed.
struct Source {
  const DatasetFolder& folder;
  const TaskOptions& options;
  Json prompts;
  Json max_tokens;
};

Result<std::vector<std::string>> text_list(const DatasetFolder& folder, const DatasetFolder::Line& line,
                                           const char* key) {
  std::vector<std::string> texts;
  const auto found = line.value.find(key);
  if (found == line.value.end() || found->is_null()) return texts;
  const bool is_list = found->is_array() && std::all_of(found->begin(), found->end(),
                                                        [](const Json& one) { return one.is_string(); });
  if (!is_list) return folder.malformed(line.where, fmt::format("\"{}\" is not a list of strings", key));
  return found->get<std::vector<std::string>>();
}

// A prompt's form with {context} and {input} filled in, and doubled braces for single ones.
std::string filled(std::string_view form, std::string_view context, std::string_view input) {
  const std::pair<std::string_view, std::string_view> parts[] = {
      {"{context}", context}, {"{input}", input}, {"{{", "{"}, {"}}", "}"}};
  std::string text;
  while (!form.empty()) {
    const auto part = std::find_if(std::begin(parts), std::end(parts),
                                   [&](const auto& one) { return form.starts_with(one.first); });
    text += part == std::end(parts) ? form.substr(0, 1) : part->second;
    form.remove_prefix(part == std::end(parts) ? 1 : part->first.size());
  }
  return text;
}

// What is too long loses its middle.
Result<std::string> fitted(std::string prompt, const Tokenizer& tokenizer, int64_t most) {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, encode_prompt(tokenizer, prompt));
  if (static_cast<int64_t>(ids.size()) <= most) return prompt;
  const auto half = static_cast<size_t>(most / 2);
  const std::span<const int32_t> all(ids);
  return tokenizer.decode(all.first(half)) + tokenizer.decode(all.last(half));
}

Result<Json> read_config(const DatasetFolder& folder, const std::string& name) {
  FATHOM_ASSIGN_OR_RETURN(const std::string path,
                          folder.find({"longbench/config/" + name, "longbench/" + name}));
  Result<Json> json = read_json_file(path, {});
  if (!json.ok() || json->is_object()) return json;
  return folder.malformed(path, "not an object");
}

Result<Query> make_query(const Source& source, const DataSet& set, const DatasetFolder::Line& line) {
  const auto form = source.prompts.find(set.key);
  if (form == source.prompts.end() || !form->is_string())
    return source.folder.malformed("dataset2prompt.json", fmt::format("no prompt for \"{}\"", set.key));
  const auto most = source.max_tokens.find(set.key);
  if (most == source.max_tokens.end() || !most->is_number_integer() || *most < 1 || *most > 65536)
    return source.folder.malformed("dataset2maxlen.json", fmt::format("no length for \"{}\"", set.key));
  FATHOM_ASSIGN_OR_RETURN(const std::string context, source.folder.text_field(line, "context"));
  FATHOM_ASSIGN_OR_RETURN(const std::string input, source.folder.text_field(line, "input"));
  const bool is_modeltest = source.options.style == PromptStyle::kModeltest;
  const int64_t answer_tokens = is_modeltest ? kLongbenchModeltestTokens : most->get<int64_t>();
  int64_t room = source.options.max_model_len - answer_tokens;
  if (is_modeltest) room = std::min(room, kModeltestPromptTokens);
  if (room < 2) {
    return invalid_argument(
        "longbench: an answer of up to {} tokens leaves no room for a prompt in the model's {}",
        answer_tokens, source.options.max_model_len);
  }
  FATHOM_ASSIGN_OR_RETURN(std::string prompt, fitted(filled(form->get<std::string>(), context, input),
                                                     *source.options.tokenizer, room));
  Query query{.kind = QueryKind::kGenerate,
              .prompt = std::move(prompt),
              .is_plain = set.chat == Chat::kNo,
              .max_tokens = answer_tokens};
  if (set.part == Part::kFirstLine && std::string_view(set.key) == "samsum") query.until = {"\n"};
  return query;
}

Result<Truth> parse_truth(const DatasetFolder& folder, const DataSet& set, const DatasetFolder::Line& line) {
  Truth truth{.set = &set, .answers = {}, .classes = {}};
  FATHOM_ASSIGN_OR_RETURN(truth.answers, text_list(folder, line, "answers"));
  FATHOM_ASSIGN_OR_RETURN(truth.classes, text_list(folder, line, "all_classes"));
  if (truth.answers.empty()) return folder.malformed(line.where, "no \"answers\"");
  return truth;
}

double score_of(const Truth& truth, std::string_view text, const ChineseWords& words) {
  if (truth.set->part == Part::kFirstLine) {
    text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
    text = text.substr(0, text.find('\n'));
  }
  double best = 0;
  for (const std::string& answer : truth.answers)
    best = std::max(best, truth.set->score(text, answer, {truth.classes, words}));
  return best;
}

Result<size_t> length_class(const DatasetFolder& folder, const DatasetFolder::Line& line) {
  const auto length = line.value.find("length");
  if (length == line.value.end() || !length->is_number_integer())
    return folder.malformed(line.where, "\"length\" is no number");
  size_t index = 0;
  while (length->get<int64_t>() >= kLengthClasses[index].below) ++index;
  return index;
}

// All that answers are judged by.
struct Truths {
  std::vector<Truth> of_examples;
  ChineseWords words;
};

// The lines of one subject.
Status add_subject(const Source& source, const DataSet& set, std::span<const DatasetFolder::Line> lines,
                   Subject subject, Task& task, Truths& truths) {
  subject.num_available = static_cast<int64_t>(lines.size());
  task.subjects.push_back(std::move(subject));
  for (const auto& line : lines.first(limited(source.options, lines.size()))) {
    FATHOM_ASSIGN_OR_RETURN(Query query, make_query(source, set, line));
    FATHOM_ASSIGN_OR_RETURN(Truth truth, parse_truth(source.folder, set, line));
    task.examples.push_back({.subject = task.subjects.size() - 1,
                             .query = std::move(query),
                             .right = {truths.of_examples.size()},
                             .golden = dump_json(truth.answers)});
    truths.of_examples.push_back(std::move(truth));
  }
  return ok_status();
}

Status add_set(const Source& source, const DataSet& set, InE in_e, Task& task, Truths& truths) {
  const std::string file = fmt::format("{}{}.jsonl", set.key, in_e == kE ? "_e" : "");
  FATHOM_ASSIGN_OR_RETURN(const std::string path,
                          source.folder.find({"longbench/data/" + file, "longbench/" + file}));
  FATHOM_ASSIGN_OR_RETURN(std::vector<DatasetFolder::Line> lines, source.folder.read_json_lines(path));
  const std::string name = fmt::format("{}_{}", task.name, set.key);
  if (in_e == InE::kNo) return add_subject(source, set, lines, {name, set.key, ""}, task, truths);
  std::array<std::vector<DatasetFolder::Line>, kLengthClasses.size()> by_length;
  for (auto& line : lines) {
    FATHOM_ASSIGN_OR_RETURN(const size_t index, length_class(source.folder, line));
    by_length[index].push_back(std::move(line));
  }
  for (size_t i = 0; i < by_length.size(); ++i) {
    if (by_length[i].empty()) continue;
    const std::string alias = fmt::format("{}_{}", set.key, kLengthClasses[i].name);
    FATHOM_RETURN_IF_ERROR(
        add_subject(source, set, by_length[i], {task.name + "_" + alias, alias, name}, task, truths));
  }
  return ok_status();
}

Status check_subjects(const TaskOptions& options) {
  for (const std::string& wanted : options.subjects) {
    const auto is_it = [&](const DataSet& set) { return set.key == wanted; };
    if (std::none_of(std::begin(kDataSets), std::end(kDataSets), is_it))
      return invalid_argument("--tasks: no subject \"{}\"; {} is one", wanted, kDataSets[0].key);
  }
  return ok_status();
}

// jieba's, where its folder lies beside the data.
Result<ChineseWords> chinese_words(const TaskOptions& options) {
  const std::string folder = join_path(options.data_dir, "longbench/jieba");
  if (!std::filesystem::exists(folder)) return ChineseWords();
  return ChineseWords::load(folder);
}

Result<Task> open(const char* name, InE in_e, const TaskOptions& options) {
  FATHOM_RETURN_IF_ERROR(refuse_shots(name, options));
  FATHOM_RETURN_IF_ERROR(check_subjects(options));
  const DatasetFolder folder(options.data_dir, kLongbenchInfo);
  Source source{.folder = folder, .options = options, .prompts = {}, .max_tokens = {}};
  FATHOM_ASSIGN_OR_RETURN(source.prompts, read_config(folder, "dataset2prompt.json"));
  FATHOM_ASSIGN_OR_RETURN(source.max_tokens, read_config(folder, "dataset2maxlen.json"));
  Task task;
  task.name = name;
  task.version = "1.0";
  task.metrics = {{.name = "score"}};
  const auto truths = std::make_shared<Truths>();
  for (const DataSet& set : kDataSets) {
    const auto& wanted = options.subjects;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), set.key) == wanted.end()) continue;
    if (in_e == kE && set.in_e == InE::kNo) continue;
    FATHOM_RETURN_IF_ERROR(add_set(source, set, in_e, task, *truths));
  }
  FATHOM_ASSIGN_OR_RETURN(truths->words, chinese_words(options));
  if (truths->words.has_dictionary()) task.version += "-jieba";  // other scores
  if (task.examples.empty()) return invalid_argument("--tasks: {} has none of the subjects asked for", name);
  task.judge = [truths](const Example& example, const Answer& answer) -> Result<Score> {
    const double score = score_of(truths->of_examples[example.right[0]], answer.text, truths->words);
    return Score{.values = {score}, .result = answer.text, .pass = score};
  };
  return task;
}

}  // namespace

Result<Task> open_longbench(const TaskOptions& options) { return open("longbench", InE::kNo, options); }
Result<Task> open_longbench_e(const TaskOptions& options) { return open("longbench_e", kE, options); }

}  // namespace fathom
