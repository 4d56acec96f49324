// One request to /v1/chat/completions or /v1/completions on its way, from the parsed request to the reply.
// I/O thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/chat/answer_parser.h"
#include "server/generation_exchange.h"
#include "server/openai.h"
#include "server/stop_reason.h"
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
  HttpReply whole() override;
  void finish_whole() override;
  std::string stream_end() override;
  HttpReply refusal(const ApiError& error) const override { return error_reply(error); }
  std::string stream_failure(const ApiError& error) override;

  size_t prompt_of(size_t index) const { return index / static_cast<size_t>(request_.generation.n); }
  void add_scores(const GenerationEvent& event);
  void add_piece(ChoicePiece piece);
  void stream_piece(ChoicePiece piece);
  ChoicePiece piece_of(GenerationEvent event);
  std::optional<Usage> chunk_usage() const;

  std::string request_id_;
  const ServedModel& model_;
  WorkQueue& work_;
  CompletionRequest request_;
  std::vector<std::vector<int32_t>> shown_prompts_;  // where token ids are asked for
  std::optional<ReplyWriter> reply_;
  std::vector<ChoicePiece> choices_;   // what has come; of a stream only its finish reasons
  std::vector<AnswerParser> parsers_;  // [choices] of a chat
  std::vector<int32_t> last_calls_;    // [choices] of a chat: index of the last call, or -1
  StopReason stop_reason_;
};

}  // namespace fathom
