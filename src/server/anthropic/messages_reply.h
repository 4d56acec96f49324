// Replies of Anthropic's /v1/messages: the message, its events in a stream, and errors.
#pragma once

#include <string>

#include "server/answer_exchange.h"

namespace fathom {

class MessagesWriter : public AnswerWriter {
 public:
  // model must outlive the writer.
  MessagesWriter(std::string request_id, const ServedModel& model)
      : id_(std::move(request_id)), model_(&model) {}

  std::string begin(const Usage& usage) override;
  std::string piece(size_t index, const AnswerItem& piece, bool opens) override;
  std::string item_end(size_t index, const AnswerItem& item) override;
  std::string end(const std::vector<AnswerItem>& items, const AnswerEnd& end) override;
  std::string error_event(const ApiError& error) override;
  Json whole(const std::vector<AnswerItem>& items, const AnswerEnd& end) override;
  HttpReply error(const ApiError& error) override;

 private:
  Json frame() const;
  std::string tool_id(size_t index) const { return fmt::format("toolu_{}_{}", id_, index); }

  std::string id_;
  const ServedModel* model_;
};

// {"type": "error", "error": {"type", "message"}, "request_id"}, with the status of the error.
HttpReply anthropic_error_reply(const ApiError& error, const std::string& request_id);

}  // namespace fathom
