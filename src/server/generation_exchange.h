// One request for answers on its way, in whatever protocol: started, then shown whole or streamed as the
// engine's events come, ended or failed. What is shown, and how, is the protocol's exchange, which derives
// from this. I/O thread.
#pragma once

#include <memory>
#include <string>

#include "server/answer_record.h"
#include "server/engine_client.h"
#include "server/http_message.h"

namespace fathom {

class GenerationExchange : public Exchange, public GenerationListener {
 public:
  void on_event(const GenerationEvent& event) final;
  std::string log_note() const final;
  bool abort() final;
  void break_off(const std::string& cause) final;

 protected:
  enum class State : uint8_t { kNew, kWaiting, kStreaming, kEnded };
  enum class Delivery : uint8_t { kWhole, kStream };

  // Both must outlive the exchange.
  GenerationExchange(EngineClient& client, ResponseWriter& writer) : client_(client), writer_(writer) {}

  // Starts the generation, or fails.
  void begin(GenerationRequest request, Delivery delivery);
  // The response's end: with what the protocol says at an end, or of an error.
  void finish();
  void fail(const ApiError& error);
  void finish_with(HttpReply reply);

  State state() const { return state_; }
  const AnswerRecord& record() const { return record_; }
  AnswerRecord& record() { return record_; }
  // A piece of a stream, framed; "": nothing.
  void send(const std::string& bytes);
  // Gives the generation up.
  void abandon() { generation_.reset(); }

 private:
  void handle(const GenerationEvent& event);
  // The engine has the request; the head of a stream has been sent. Not earlier: until then it may still be
  // refused with a status of its own.
  virtual void opened() = 0;
  // Prompt scores, a token, an end; after the last sequence's end comes finish().
  virtual void take(const GenerationEvent& event) = 0;

  virtual HttpReply stream_head() const;
  // All choices have ended: calls finish_with(), at once or later.
  virtual void finish_whole() = 0;
  virtual std::string stream_end() = 0;
  virtual HttpReply refusal(const ApiError& error) const = 0;
  virtual std::string stream_failure(const ApiError& error) = 0;

  EngineClient& client_;
  ResponseWriter& writer_;
  std::unique_ptr<Generation> generation_;
  State state_ = State::kNew;
  Delivery delivery_ = Delivery::kWhole;
  size_t num_sequences_ = 0;
  size_t num_ended_ = 0;
  AnswerRecord record_;
  std::string cause_;  // of an error of which the client learns nothing more
};

// The error that an event of a failed or cancelled sequence means to a client.
ApiError error_of_event(const GenerationEvent& event);
// The head of a stream of server-sent events.
HttpReply event_stream_head();

}  // namespace fathom
