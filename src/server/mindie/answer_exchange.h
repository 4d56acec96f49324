// One request of a MindIE protocol on its way: from what was prepared over the engine's events to the reply,
// whole or streamed. I/O thread.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/answer_record.h"
#include "server/engine_client.h"
#include "server/http_message.h"
#include "server/mindie/answer.h"

namespace fathom::mindie {

class AnswerExchange;
// Under way, by the names that clients gave them; of two alike the later one.
using RunningAnswers = std::unordered_map<std::string, AnswerExchange*>;

class AnswerExchange : public Exchange, public GenerationListener {
 public:
  enum class Text { kNew, kWhole };  // what a piece of a stream shows

  // All must outlive the exchange.
  AnswerExchange(EngineClient& client, RunningAnswers& running, ResponseWriter& writer, Text text)
      : client_(client), running_(running), writer_(writer), text_(text) {}
  ~AnswerExchange() override;

  // Starts the generation, or replies with the refusal.
  void start(Parsed parsed);
  // Ends the answers where they are: the client gets what there is.
  void stop();
  void on_event(const GenerationEvent& event) override;
  std::string log_note() const override;

 private:
  void open();
  void take(const GenerationEvent& event);
  void show(Piece piece);
  void finish();
  void fail(const ApiError& error);

  EngineClient& client_;
  RunningAnswers& running_;
  ResponseWriter& writer_;
  Text text_;
  Prepared request_;
  std::unique_ptr<Generation> generation_;
  enum class State : uint8_t { kNew, kWaiting, kStreaming, kEnded } state_ = State::kNew;
  std::vector<Answer> answers_;
  size_t num_finished_ = 0;
  AnswerRecord record_;
};

}  // namespace fathom::mindie
