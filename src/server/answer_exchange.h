// One request for one answer in a protocol other than OpenAI's completions: the engine's events become items,
// text or calls. How the protocol says it is an AnswerWriter's. I/O thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/chat/answer_parser.h"
#include "server/generation_exchange.h"
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

class AnswerExchange : public GenerationExchange {
 public:
  // All must outlive the exchange; format writes the answer and must not be null.
  AnswerExchange(EngineClient& client, ResponseWriter& writer, std::unique_ptr<AnswerWriter> format)
      : GenerationExchange(client, writer), format_(std::move(format)) {}

  // Starts the generation, or replies with the refusal.
  void start(std::variant<CompletionRequest, ApiError> parsed);

 private:
  void opened() override;
  void take(const GenerationEvent& event) override;
  void finish_whole() override;
  std::string stream_end() override;
  HttpReply refusal(const ApiError& error) const override { return format_->error(error); }
  std::string stream_failure(const ApiError& error) override { return format_->error_event(error); }

  void add(const AnswerPiece& piece);
  void close_item();
  bool streams() const { return state() == State::kStreaming; }

  std::unique_ptr<AnswerWriter> format_;
  ReplyOptions reply_;
  AnswerParser parser_;
  StopReason stop_reason_;
  std::vector<AnswerItem> items_;
  std::vector<SampledToken> unshown_;  // tokens whose text has not come
  bool item_is_open_ = false;
  AnswerEnd end_;
};

}  // namespace fathom
