#include "evaluate/engine_scorer.h"

#include <memory>

#include "evaluate/readings.h"

namespace fathom {
namespace {

// Requests in flight beyond those that the engine computes together, so that its batch stays full.
constexpr int64_t kRequestsAhead = 64;

Request request_of(const Reading& reading) {
  SamplingParams sampling;
  sampling.temperature = 0;
  sampling.max_tokens = reading.max_tokens;
  sampling.stop_strings = reading.until;
  return {reading.ids, std::move(sampling), reading.scoring};
}

class EngineSession {
 public:
  EngineSession(Engine& engine, const AnswerSink& sink) : engine_(engine), sink_(sink) {}
  ~EngineSession() {
    for (RequestId id : ids_) engine_.cancel(id);
  }
  EngineSession(const EngineSession&) = delete;
  EngineSession& operator=(const EngineSession&) = delete;

  Status submit(const Query& query, size_t query_index) {
    FATHOM_ASSIGN_OR_RETURN(const auto pending,
                            begin_query(*engine_.tokenizer(), engine_.max_model_len(), query, query_index));
    for (size_t i = 0; i < pending->readings.size(); ++i) {
      FATHOM_RETURN_IF_ERROR(submit(request_of(pending->readings[i]), pending, i));
    }
    return ok_status();
  }

  size_t num_open() const { return num_open_; }

  // One step, then what it has ended.
  Status advance() {
    if (engine_.has_work()) FATHOM_RETURN_IF_ERROR(engine_.step());
    std::vector<std::shared_ptr<PendingQuery>> ended;
    ended.swap(ended_);
    for (const auto& pending : ended) {
      FATHOM_RETURN_IF_ERROR(pending->status);
      add_scores(*pending);
      FATHOM_RETURN_IF_ERROR(sink_(pending->query_index, std::move(pending->answer)));
    }
    return ok_status();
  }

 private:
  Status submit(const Request& request, const std::shared_ptr<PendingQuery>& pending, size_t reading) {
    const auto listener = [this, pending, reading](const RequestEvent& event) {
      if (event.prompt_scores != nullptr) pending->scores[reading] = *event.prompt_scores;
      if (reading == 0) {
        if (event.token_id) pending->answer.output_ids.push_back(*event.token_id);
        pending->answer.text += event.text;
      }
      if (event.finish_reason == FinishReason::kNone) return;
      if (!event.status.ok()) pending->status = event.status;
      --num_open_;
      if (--pending->num_open == 0) ended_.push_back(pending);
    };
    Result<RequestId> id = engine_.submit(request, listener);
    // A long text has more windows than the engine's line has places.
    while (!id.ok() && id.status().code() == ErrorCode::kResourceExhausted && engine_.has_work()) {
      FATHOM_RETURN_IF_ERROR(engine_.step());
      id = engine_.submit(request, listener);
    }
    if (!id.ok()) return id.status();
    ++num_open_;
    ids_.push_back(*id);
    return ok_status();
  }

  Engine& engine_;
  const AnswerSink& sink_;
  size_t num_open_ = 0;
  std::vector<std::shared_ptr<PendingQuery>> ended_;
  std::vector<RequestId> ids_;
};

}  // namespace

Status EngineScorer::answer(std::span<const Query> queries, const AnswerSink& sink) {
  EngineSession session(engine_, sink);
  const auto most = static_cast<size_t>(max_at_once_ + kRequestsAhead);
  size_t next = 0;
  while (next < queries.size() || session.num_open() > 0) {
    while (next < queries.size() && session.num_open() < most) {
      FATHOM_RETURN_IF_ERROR(session.submit(queries[next], next).with_context("a question"));
      ++next;
    }
    FATHOM_RETURN_IF_ERROR(session.advance());
  }
  return session.advance();
}

}  // namespace fathom
