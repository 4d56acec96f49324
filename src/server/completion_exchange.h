// One request to /v1/chat/completions or /v1/completions on its way, from the parsed request to the reply.
// I/O thread.
#pragma once

#include <memory>
#include <string>

#include "server/completion_answer.h"
#include "server/generation_exchange.h"
#include "server/openai.h"
#include "server/work_queue.h"

namespace fathom {

class CompletionExchange : public GenerationExchange,
                           public std::enable_shared_from_this<CompletionExchange> {
 public:
  // All must outlive the exchange.
  CompletionExchange(std::string request_id, const ServedModel& model, EngineClient& client, WorkQueue& work,
                     ResponseWriter& writer)
      : GenerationExchange(client, writer), request_id_(std::move(request_id)), model_(model), work_(work) {}

  // Starts the generation, or replies with the refusal.
  void start(std::variant<CompletionRequest, ApiError> parsed);

 private:
  void opened() override;
  void take(const GenerationEvent& event) override;
  void finish_whole() override;
  std::string stream_end() override;
  HttpReply refusal(const ApiError& error) const override { return error_reply(error); }
  std::string stream_failure(const ApiError& error) override;

  void add_scores(const GenerationEvent& event);
  void stream_piece(ChoicePiece piece);
  void send_chunk(const ChoicePiece& piece);

  std::string request_id_;
  const ServedModel& model_;
  WorkQueue& work_;
  std::shared_ptr<CompletionAnswer> answer_;  // of a request that is one; the worker may hold it longer
};

}  // namespace fathom
