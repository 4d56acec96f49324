// One request for one answer in a protocol other than OpenAI's completions: from the engine's events to the
// reply, whole or streamed. How the protocol says it is an AnswerWriter's. I/O thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/answer_record.h"
#include "server/chat/answer_parser.h"
#include "server/engine_client.h"
#include "server/http_message.h"
#include "server/openai.h"
#include "server/stop_reason.h"

namespace fathom {

// Text or a call, as the answer has them one after the other.
struct AnswerItem {
  bool is_call = false;
  std::string text;                       // of a call: the arguments
  std::string name;                       // of a call
  std::vector<SampledToken> tokens = {};  // of a text, where log-probabilities are asked for
};

struct AnswerEnd {
  FinishReason reason = FinishReason::kNone;
  Json stop_reason = nullptr;  // StopReason
  Usage usage = {};
};

// Writes one answer. What it writes of a stream is events ready to be sent.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  virtual std::string begin(const Usage& usage) = 0;
  // A piece of the item at index: opens it where `opens`. Items come one after the other.
  virtual std::string piece(size_t index, const AnswerItem& piece, bool opens) = 0;
  // The item is complete.
  virtual std::string item_end(size_t index, const AnswerItem& item) = 0;
  virtual std::string end(const std::vector<AnswerItem>& items, const AnswerEnd& end) = 0;
  virtual std::string error_event(const ApiError& error) = 0;

  virtual Json whole(const std::vector<AnswerItem>& items, const AnswerEnd& end) = 0;
  virtual HttpReply error(const ApiError& error) = 0;
};

class AnswerExchange : public Exchange, public GenerationListener {
 public:
  // client and writer must outlive the exchange.
  AnswerExchange(EngineClient& client, ResponseWriter& writer) : client_(client), writer_(writer) {}

  // Starts the generation. format writes the answer and must not be null.
  void start(CompletionRequest request, std::unique_ptr<AnswerWriter> format);
  void refuse(const HttpReply& reply) { writer_.reply(reply); }

  void on_event(const GenerationEvent& event) override;
  std::string log_note() const override;

 private:
  void add(const AnswerPiece& piece);
  void add_tokens(const GenerationEvent& event);
  void close_item();
  void send(const std::string& events);
  void finish(const GenerationEvent& event, Json stop_reason);
  void fail(const ApiError& error);

  EngineClient& client_;
  ResponseWriter& writer_;
  std::unique_ptr<AnswerWriter> format_;
  std::unique_ptr<Generation> generation_;
  ReplyOptions reply_;
  AnswerParser parser_;
  StopReason stop_reason_;
  std::vector<AnswerItem> items_;
  std::vector<SampledToken> unshown_;  // tokens whose text has not come
  bool streams_ = false;
  bool item_is_open_ = false;
  bool ended_ = false;
  AnswerRecord record_;
};

// The error that an event of a failed or cancelled sequence means to a client.
ApiError error_of_event(const GenerationEvent& event);
// The head of a stream of events.
HttpReply stream_head();

}  // namespace fathom
