// NeedleBench, single needle: a fact hidden at some depth of a long text, then asked for. Prompts and score
// are those of OpenCompass and modeltest; lengths are counted in the model's own tokens, and texts and
// needles are taken in the order of their files instead of at random.
#include "evaluate/tasks/needle.h"

#include <algorithm>

#include "evaluate/dataset_files.h"
#include "evaluate/pair_encoding.h"
#include "evaluate/plain_text.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

constexpr DatasetInfo kNeedleInfo = {
    "NeedleBench",
    "needles.jsonl with \"needle\", \"retrieval_question\", \"arg2\", \"language\" a line, and texts "
    "PaulGrahamEssays.jsonl or zh_finance.jsonl with \"text\" a line",
    "opencompass/NeedleBench"};

constexpr int64_t kLengths[] = {1000, 2000, 3000, 4000, 8000, 16000, 32000, 64000, 128000};
constexpr int64_t kDepths[] = {0, 10, 21, 31, 42, 52, 63, 73, 84, 94, 100};  // per cent
constexpr int64_t kAnswerTokens = 256;
constexpr size_t kNeedles = 10;  // of a length and depth

struct Language {
  const char* name;  // as in needles.jsonl
  const char* alias;
  const char* file;
  int64_t room;              // tokens of a length that instructions and question may take
  const char* prompt;        // context and question
  const char* format_words;  // where the question begins to say how to answer
  const char* advice;        // put before that
};

constexpr Language kLanguages[] = {
    {"English", "en", "needle/PaulGrahamEssays.jsonl", 600,
     "You are an intelligent AI assistant skilled in answering user questions.\nPlease keep your answers "
     "concise and "
     "clear. Do not talk about irrelevant topics or repeat your answers.\nThe document given to you by the "
     "user is "
     "{}\n\nNow, the question is: {}",
     "Please answer in the format",
     "Before answering, please consider what in the document is most relevant to this question. "},
    {"Chinese", "zh", "needle/zh_finance.jsonl", 200,
     "你是一个善于回答用户问题的智能AI助手\n请保持你的回答简洁清楚。不要说和下面文档中的无关的话，或重复你的"
     "回答\n"
     "用户现在给你的文档是{}\n\n现在请问：{}",
     "请按照", "在回答之前，请思考文档中与此问题最相关的内容是什么。"},
};

struct Needle {
  std::string text;
  std::string question;
  std::string keyword;
};

Result<std::vector<Needle>> read_needles(const DatasetFolder& folder, const std::string& language,
                                         size_t limit) {
  FATHOM_ASSIGN_OR_RETURN(const std::string path, folder.find({"needle/needles.jsonl"}));
  FATHOM_ASSIGN_OR_RETURN(const auto lines, folder.read_json_lines(path));
  std::vector<Needle> needles;
  for (const auto& line : lines) {
    FATHOM_ASSIGN_OR_RETURN(const std::string written_in, folder.text_field(line, "language"));
    if (written_in != language || needles.size() == limit) continue;
    Needle needle;
    FATHOM_ASSIGN_OR_RETURN(needle.text, folder.text_field(line, "needle"));
    FATHOM_ASSIGN_OR_RETURN(needle.question, folder.text_field(line, "retrieval_question"));
    FATHOM_ASSIGN_OR_RETURN(needle.keyword, folder.text_field(line, "arg2"));
    if (needle.keyword.empty()) return folder.malformed(line.where, "\"arg2\" is empty");
    needles.push_back(std::move(needle));
  }
  if (needles.empty()) return folder.malformed(path, fmt::format("no needle in {}", language));
  return needles;
}

// Tokens of the texts, enough for the longest length.
Result<std::vector<int32_t>> read_haystack(const DatasetFolder& folder, const std::string& path,
                                           const Tokenizer& tokenizer, int64_t num_tokens) {
  FATHOM_ASSIGN_OR_RETURN(const auto lines, folder.read_json_lines(path));
  std::vector<int32_t> ids;
  for (const auto& line : lines) {
    if (static_cast<int64_t>(ids.size()) >= num_tokens) break;
    FATHOM_ASSIGN_OR_RETURN(const std::string text, folder.text_field(line, "text"));
    FATHOM_ASSIGN_OR_RETURN(const auto more, tokenizer.encode(text, {.add_bos = AddBos::kNever}));
    ids.insert(ids.end(), more.begin(), more.end());
  }
  return ids;
}

std::string asked(const Language& language, const std::string& question) {
  std::string text = question;
  const size_t at = text.find(language.format_words);
  if (at != std::string::npos) text.insert(at, language.advice);
  return text;
}

Result<Example> make_example(const Language& language, const Needle& needle, int64_t length, int64_t depth,
                             std::span<const int32_t> haystack, const Tokenizer& tokenizer) {
  const std::string fact = "\n" + needle.text + "\n";
  FATHOM_ASSIGN_OR_RETURN(const auto fact_ids, tokenizer.encode(fact, {.add_bos = AddBos::kNever}));
  const int64_t room = length - language.room - static_cast<int64_t>(fact_ids.size());
  const auto size = std::min(haystack.size(), static_cast<size_t>(std::max<int64_t>(room, 0)));
  const size_t at = size * static_cast<size_t>(depth) / 100;
  std::vector<int32_t> ids(haystack.begin(), haystack.begin() + static_cast<std::ptrdiff_t>(at));
  ids.insert(ids.end(), fact_ids.begin(), fact_ids.end());
  ids.insert(ids.end(), haystack.begin() + static_cast<std::ptrdiff_t>(at),
             haystack.begin() + static_cast<std::ptrdiff_t>(size));
  return Example{.query = {.kind = QueryKind::kGenerate,
                           .prompt = fmt::format(fmt::runtime(language.prompt), tokenizer.decode(ids),
                                                 asked(language, needle.question)),
                           .max_tokens = kAnswerTokens},
                 .golden = fact + "*" + needle.keyword};
}

// All lengths and depths of a language that fit into the model.
Status add_language(const DatasetFolder& folder, const Language& language, const std::string& path,
                    const TaskOptions& options, Task& task) {
  const size_t limit = options.limit ? std::min(static_cast<size_t>(*options.limit), kNeedles) : kNeedles;
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Needle> needles, read_needles(folder, language.name, limit));
  const int64_t most = options.max_model_len - kAnswerTokens;
  FATHOM_ASSIGN_OR_RETURN(const auto haystack, read_haystack(folder, path, *options.tokenizer, most));
  for (const int64_t length : kLengths) {
    // A text that ends before this length would only repeat the length before.
    if (length > most || static_cast<int64_t>(haystack.size()) < length - language.room) break;
    for (const int64_t depth : kDepths) {
      const std::string cell = fmt::format("{}_{}_depth_{}", language.alias, length, depth);
      task.subjects.push_back({"needle_" + cell, cell, fmt::format("needle_{}_{}", language.alias, length),
                               static_cast<int64_t>(needles.size())});
      for (const Needle& needle : needles) {
        FATHOM_ASSIGN_OR_RETURN(Example example,
                                make_example(language, needle, length, depth, haystack, *options.tokenizer));
        example.subject = task.subjects.size() - 1;
        task.examples.push_back(std::move(example));
      }
    }
  }
  return ok_status();
}

}  // namespace

double needle_score(std::string_view answer, std::string_view needle, std::string_view keyword) {
  if (answer.find(keyword) != std::string_view::npos) return 1;
  const std::string got_text = without_white_space(answer), want_text = without_white_space(needle);
  std::vector<std::string_view> got = split_characters(got_text);
  const std::vector<std::string_view> want = split_characters(want_text);
  // An answer much longer than the needle is cut near the needle's length, behind its last character there.
  const size_t shortest = want.size() * 8 / 10, longest = want.size() * 12 / 10;
  if (got.size() > longest) got.resize(longest);
  if (got.size() > shortest && !want.empty()) {
    const auto last = std::find(got.begin() + static_cast<std::ptrdiff_t>(shortest), got.end(), want.back());
    if (last != got.end()) got.erase(last + 1, got.end());
  }
  const size_t size = std::max(got.size(), want.size());
  if (size == 0) return 0.2;
  return 0.2 * (1 - static_cast<double>(edit_distance(got, want)) / static_cast<double>(size));
}

size_t edit_distance(std::span<const std::string_view> a, std::span<const std::string_view> b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

Result<Task> open_needle(const TaskOptions& options) {
  FATHOM_RETURN_IF_ERROR(refuse_subjects("needle", options));
  FATHOM_RETURN_IF_ERROR(refuse_shots("needle", options));
  const DatasetFolder folder(options.data_dir, kNeedleInfo);
  Task task;
  task.name = "needle";
  task.version = "1.0";
  task.metrics = {{.name = "score"}};
  task.judge = [](const Example& example, const Answer& answer) -> Result<Score> {
    const size_t star = example.golden.rfind('*');
    const double score = needle_score(answer.text, std::string_view(example.golden).substr(0, star),
                                      std::string_view(example.golden).substr(star + 1));
    return Score{.values = {score}, .result = answer.text, .pass = score};
  };
  std::vector<std::string> files;
  for (const Language& language : kLanguages) {
    files.push_back(language.file);
    const Result<std::string> path = folder.find({language.file});
    if (path.ok()) FATHOM_RETURN_IF_ERROR(add_language(folder, language, *path, options, task));
  }
  if (!task.examples.empty()) return task;
  FATHOM_RETURN_IF_ERROR(folder.find(files).status());
  return invalid_argument(
      "needle: the shortest text of {} tokens and an answer of {} do not fit into the model's {}",
      kLengths[0], kAnswerTokens, options.max_model_len);
}

}  // namespace fathom
