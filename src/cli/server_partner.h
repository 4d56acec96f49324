// A server with OpenAI's /v1/chat/completions in a conversation.
#pragma once

#include "cli/chat_partner.h"
#include "cli/sampling_flags.h"
#include "client/http_client.h"

namespace fathom {

class ServerPartner : public ChatPartner {
 public:
  // model: as the server calls it. sampling: further fields of every request.
  ServerPartner(std::unique_ptr<HttpClient> client, std::string model, Json sampling)
      : client_(std::move(client)), model_(std::move(model)), sampling_(std::move(sampling)) {}

  Result<ChatAnswer> answer(const Json& messages, const TextSink& sink) override;

 private:
  std::unique_ptr<HttpClient> client_;
  std::string model_;
  Json sampling_;
};

}  // namespace fathom
