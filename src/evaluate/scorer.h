// What an evaluation asks of a model. Tasks make queries and judge answers and know no engine; who answers
// (an engine in this process, a server elsewhere) knows no task.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom {

enum class QueryKind {
  kContinuations,  // log-likelihood of each choice as the text after the prompt
  kNextToken,      // log-probability of the last token of each choice as the token after the prompt
  kWholeText,      // log-likelihood of the prompt itself, in windows of the model's length
  kGenerate,       // greedy text after the prompt
};

// As chat templates take it.
struct ChatTurn {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// One question of a data set.
struct Query {
  QueryKind kind = QueryKind::kContinuations;
  std::string prompt = {};
  // What a chat template is given instead of the prompt; empty: the prompt as a user's turn.
  std::vector<ChatTurn> turns = {};
  bool is_plain = false;                  // never put through a chat template
  std::vector<std::string> choices = {};  // of kContinuations and kNextToken
  std::vector<std::string> until = {};    // of kGenerate: texts that end the answer and are no part of it
  int64_t max_tokens = 0;                 // of kGenerate
};

struct Answer {
  std::vector<double> logprobs = {};  // nats: one for each choice, or one for the whole text
  std::string text = {};              // of kGenerate
  // What the model read (of several readings the first) and the tokens it gave, for people and for files.
  std::vector<int32_t> prompt_ids = {};
  std::vector<int32_t> output_ids = {};
};

// Called once for each query, in any order.
using AnswerSink = std::function<Status(size_t query_index, Answer answer)>;

class Scorer {
 public:
  virtual ~Scorer() = default;
  // Answers all queries, many at a time. An answer depends on its query alone. Stops with the sink's error.
  virtual Status answer(std::span<const Query> queries, const AnswerSink& sink) = 0;
};

}  // namespace fathom
