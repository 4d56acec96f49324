// One request of a MindIE protocol on its way, from what was prepared to the reply. I/O thread.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "server/generation_exchange.h"
#include "server/mindie/answer.h"

namespace fathom::mindie {

class AnswerExchange;
// Under way, by the names that clients gave them; of two alike the later one.
using RunningAnswers = std::unordered_map<std::string, AnswerExchange*>;

class AnswerExchange : public GenerationExchange {
 public:
  enum class Text { kNew, kWhole };  // what a piece of a stream shows

  // All must outlive the exchange.
  AnswerExchange(EngineClient& client, RunningAnswers& running, ResponseWriter& writer, Text text)
      : GenerationExchange(client, writer), running_(running), text_(text) {}
  ~AnswerExchange() override;

  // Starts the generation, or replies with the refusal.
  void start(Parsed parsed);
  // Ends the answers where they are: the client gets what there is.
  void stop();

 private:
  void opened() override {}
  void take(const GenerationEvent& event) override;
  HttpReply stream_head() const override { return request_.form->stream_head(); }
  void finish_whole() override { finish_with({.body = dump_json(request_.form->whole(answers_))}); }
  std::string stream_end() override { return {}; }
  HttpReply refusal(const ApiError& error) const override;
  std::string stream_failure(const ApiError& error) override { return request_.form->stream_error(error); }

  void show(Piece piece);

  RunningAnswers& running_;
  Text text_;
  Prepared request_;
  std::vector<Answer> answers_;
};

}  // namespace fathom::mindie
