// One request to /v1/chat/completions or /v1/completions on its way: from the parsed request over the
// engine's events to the reply, whole or streamed. I/O thread.
#pragma once

#include <memory>
#include <vector>

#include "server/answer_record.h"
#include "server/chat/answer_parser.h"
#include "server/engine_client.h"
#include "server/http_message.h"
#include "server/openai.h"
#include "server/stop_reason.h"

namespace fathom {

class CompletionExchange : public Exchange, public GenerationListener {
 public:
  // All must outlive the exchange.
  CompletionExchange(std::string request_id, const ServedModel& model, EngineClient& client,
                     ResponseWriter& writer)
      : request_id_(std::move(request_id)), model_(model), client_(client), writer_(writer) {}

  // Starts the generation, or replies with the refusal.
  void start(std::variant<CompletionRequest, ApiError> parsed);
  void on_event(const GenerationEvent& event) override;
  std::string log_note() const override;

 private:
  size_t prompt_of(size_t index) const { return index / static_cast<size_t>(request_.generation.n); }
  void open();
  void send(std::string_view json);
  void add_scores(const GenerationEvent& event);
  void add_piece(ChoicePiece piece);
  void stream_piece(ChoicePiece piece);
  ChoicePiece piece_of(GenerationEvent event);
  void finish();
  void fail(const ApiError& error);
  std::optional<Usage> chunk_usage() const;

  std::string request_id_;
  const ServedModel& model_;
  EngineClient& client_;
  ResponseWriter& writer_;
  CompletionRequest request_;
  std::vector<std::vector<int32_t>> shown_prompts_;  // where token ids are asked for
  std::optional<ReplyWriter> reply_;
  std::unique_ptr<Generation> generation_;
  enum class State : uint8_t { kNew, kWaiting, kStreaming, kEnded } state_ = State::kNew;
  std::vector<ChoicePiece> choices_;   // what has come; of a stream only its finish reasons
  std::vector<AnswerParser> parsers_;  // [choices] of a chat
  std::vector<int32_t> last_calls_;    // [choices] of a chat: index of the last call, or -1
  StopReason stop_reason_;
  size_t num_finished_ = 0;
  AnswerRecord record_;
};

}  // namespace fathom
