// Queries answered by a server with OpenAI's /v1/completions: prompts as token ids, log-probabilities by
// "echo" and "logprobs", as lm-evaluation-harness asks for them.
#pragma once

#include <string>

#include "client/http_client.h"
#include "evaluate/scorer.h"
#include "text/tokenizer.h"

namespace fathom {

struct ServerScorerOptions {
  std::string model;          // as the server calls it
  int64_t max_model_len = 0;  // tokens of prompt and answer
  int64_t max_at_once = 0;    // requests under way
};

class ServerScorer : public Scorer {
 public:
  // The tokenizer is that of the served model.
  ServerScorer(HttpClient& client, const Tokenizer& tokenizer, ServerScorerOptions options)
      : client_(client), tokenizer_(tokenizer), options_(std::move(options)) {}

  // A server that is full (429, 503) is asked again when it says, or after a second, up to a limit.
  Status answer(std::span<const Query> queries, const AnswerSink& sink) override;

 private:
  HttpClient& client_;
  const Tokenizer& tokenizer_;
  ServerScorerOptions options_;
};

}  // namespace fathom
