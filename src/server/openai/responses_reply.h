// Replies of /v1/responses: the response object, and its events in a stream.
#pragma once

#include <string>

#include "server/answer_exchange.h"

namespace fathom {

class ResponsesWriter : public AnswerWriter {
 public:
  // echoed: ResponsesRequest's. model must outlive the writer.
  ResponsesWriter(std::string request_id, const ServedModel& model, Json echoed = Json::object());
  void set_echoed(Json echoed) { echoed_ = std::move(echoed); }

  std::string begin(const Usage& usage) override;
  std::string piece(size_t index, const AnswerItem& piece, bool opens) override;
  std::string item_end(size_t index, const AnswerItem& item) override;
  std::string end(const std::vector<AnswerItem>& items, const AnswerEnd& end) override;
  std::string error_event(const ApiError& error) override;
  Json whole(const std::vector<AnswerItem>& items, const AnswerEnd& end) override;
  HttpReply error(const ApiError& error) override { return error_reply(error); }

 private:
  std::string event(const char* type, Json members);
  std::string item_id(size_t index, const AnswerItem& item) const;
  Json item_json(size_t index, const AnswerItem& item, const char* status) const;
  Json text_part(const AnswerItem& item) const;
  Json logprobs(const AnswerItem& item) const;
  Json response(const char* status) const;

  std::string id_;
  const ServedModel* model_;
  Json echoed_;
  int64_t created_;
  int64_t num_events_ = 0;
};

}  // namespace fathom
