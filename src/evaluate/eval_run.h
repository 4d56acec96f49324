// One task from its queries to its results.
#pragma once

#include <vector>

#include "base/progress.h"
#include "evaluate/eval_journal.h"
#include "evaluate/task.h"

namespace fathom {

// Results of all examples, in their order: those the journal has, and the others from the scorer, entered
// into the journal as they come. journal and progress (in examples) may be null.
Result<std::vector<ExampleResult>> run_task(const Task& task, Scorer& scorer, EvalJournal* journal,
                                            ProgressSink* progress);

}  // namespace fathom
