// Perplexity of one's own texts, by the rules of the harness' wikitext task. Both styles alike.
#include "base/file.h"
#include "evaluate/dataset_files.h"
#include "evaluate/plain_text.h"
#include "evaluate/tasks/task_parts.h"

namespace fathom {
namespace {

constexpr DatasetInfo kPerplexityInfo = {
    "perplexity", "a folder perplexity of files *.txt, each one document in UTF-8", "any text of your own"};

// Python's len(re.split(r"\s+", text)).
size_t count_words(std::string_view text) {
  size_t words = 1;
  bool in_space = false;
  for (std::string_view character : split_characters(text)) {
    const bool is_space = strip(character).empty();
    words += is_space && !in_space;
    in_space = is_space;
  }
  return words;
}

Result<Score> perplexity_score(const Example& example, const Answer& answer) {
  const double logprob = answer.logprobs[0];
  const auto words = static_cast<double>(count_words(example.query.prompt));
  const auto bytes = static_cast<double>(example.query.prompt.size());
  return Score{.values = {logprob, logprob, logprob},
               .weights = {words, bytes, bytes},
               .result = fmt::format("{}", logprob)};
}

}  // namespace

Result<Task> open_perplexity(const TaskOptions& options) {
  FATHOM_RETURN_IF_ERROR(refuse_subjects("perplexity", options));
  FATHOM_RETURN_IF_ERROR(refuse_shots("perplexity", options));
  const DatasetFolder folder(options.data_dir, kPerplexityInfo);
  FATHOM_ASSIGN_OR_RETURN(const std::vector<std::string> paths, folder.list("perplexity", ".txt"));
  Task task = plain_task("perplexity", "2.0", paths.size());
  task.metrics = {{.name = "word_perplexity", .aggregation = Aggregation::kPerplexity},
                  {.name = "byte_perplexity", .aggregation = Aggregation::kPerplexity},
                  {.name = "bits_per_byte", .aggregation = Aggregation::kBitsPerUnit}};
  task.judge = perplexity_score;
  for (size_t i = 0; i < limited(options, paths.size()); ++i) {
    FATHOM_ASSIGN_OR_RETURN(std::string text, read_file(paths[i], kMaxDatasetBytes));
    if (text.empty()) return folder.malformed(paths[i], "no text");
    task.examples.push_back(
        {.query = {.kind = QueryKind::kWholeText, .prompt = std::move(text)}, .golden = paths[i]});
  }
  return task;
}

}  // namespace fathom
