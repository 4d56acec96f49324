// Queries answered by an engine in this process.
#pragma once

#include "engine/engine.h"
#include "evaluate/scorer.h"

namespace fathom {

class EngineScorer : public Scorer {
 public:
  // The engine has a tokenizer and, while answer() runs, no other work. max_at_once: requests that it
  // computes together; as many and some more are in its hands at a time.
  EngineScorer(Engine& engine, int64_t max_at_once) : engine_(engine), max_at_once_(max_at_once) {}

  // The requests of a query are submitted together, in the order of its choices, so that their common prompt
  // may be computed once; choices that differ in their last token alone are one request.
  Status answer(std::span<const Query> queries, const AnswerSink& sink) override;

 private:
  Engine& engine_;
  int64_t max_at_once_;
};

}  // namespace fathom
