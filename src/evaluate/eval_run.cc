#include "evaluate/eval_run.h"

namespace fathom {
namespace {

// Fills in what the journal has; returns the indices of the others.
Result<std::vector<size_t>> take_answered(const Task& task, const EvalJournal* journal,
                                          std::vector<ExampleResult>& results) {
  std::vector<size_t> open;
  for (size_t i = 0; i < task.examples.size(); ++i) {
    const ExampleResult* known = nullptr;
    if (journal != nullptr) {
      FATHOM_ASSIGN_OR_RETURN(known, journal->find(task.name, i, task.examples[i].query));
    }
    if (known == nullptr) {
      open.push_back(i);
    } else {
      results[i] = *known;
    }
  }
  return open;
}

}  // namespace

Result<std::vector<ExampleResult>> run_task(const Task& task, Scorer& scorer, EvalJournal* journal,
                                            ProgressSink* progress) {
  std::vector<ExampleResult> results(task.examples.size());
  FATHOM_ASSIGN_OR_RETURN(const std::vector<size_t> open, take_answered(task, journal, results));
  std::vector<Query> queries;
  for (size_t index : open) queries.push_back(task.examples[index].query);
  uint64_t done = 0;
  const auto take = [&](size_t query_index, Answer answer) -> Status {
    const size_t index = open[query_index];
    const Example& example = task.examples[index];
    FATHOM_ASSIGN_OR_RETURN(Score score, task.judge(example, answer));
    results[index] = {std::move(answer), std::move(score)};
    if (journal != nullptr)
      FATHOM_RETURN_IF_ERROR(journal->add(task.name, index, example.query, results[index]));
    if (progress != nullptr) progress->report(task.name, ++done, open.size());
    return ok_status();
  };
  if (!queries.empty()) FATHOM_RETURN_IF_ERROR(scorer.answer(queries, take).with_context(task.name));
  return results;
}

}  // namespace fathom
