// What a query makes a model read: token by token, so that whoever reads (an engine, a server) answers alike.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "evaluate/scorer.h"
#include "text/tokenizer.h"

namespace fathom {

// One reading, of which log-probabilities are wanted: of ids[first, end) where there is a first, and of each
// of next_ids after all ids. Or, of kGenerate, the greedy text after ids.
struct Reading {
  std::vector<int32_t> ids;
  PromptScoring scoring = {};
  std::vector<size_t> targets =
      {};  // of each of next_ids: which of the answer's log-probabilities it decides
  int64_t max_tokens = 1;
  std::vector<std::string> until = {};
};

// Choices that differ in their last token alone are one reading. What is too long loses its beginning, as in
// the harness.
Result<std::vector<Reading>> make_readings(const Tokenizer& tokenizer, int64_t max_model_len,
                                           const Query& query);

// A query under way, until num_open is 0.
struct PendingQuery {
  size_t query_index = 0;
  Answer answer = {};
  size_t num_open = 0;
  Status status = {};
  std::vector<Reading> readings = {};
  std::vector<PromptScores> scores = {};  // of each reading
};

// All its readings open, its answer begun.
Result<std::shared_ptr<PendingQuery>> begin_query(const Tokenizer& tokenizer, int64_t max_model_len,
                                                  const Query& query, size_t query_index);

// The log-probabilities of the answer, summed in the order of the readings, however they ended.
void add_scores(PendingQuery& pending);

}  // namespace fathom
