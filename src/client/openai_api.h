// What calls and replies of OpenAI's interface mean, as far as clients here need it: its errors as one line,
// the models of a server, the pieces of a stream.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "client/http_client.h"

namespace fathom {

enum class CompletionApi { kText, kChat };

// The path from "/v1" on.
std::string_view api_path(CompletionApi api);

// ok() for a 2xx reply. Else one line: the server, the status, what it says, and when to come again.
// kResourceExhausted stands for 429 and 503, which another time may go well.
Status reply_status(const ClientReply& reply, const Url& url);

// The body of a reply that must be a 2xx and JSON.
Result<Json> reply_json(const ClientReply& reply, const Url& url);

struct ServedModelInfo {
  std::string id;
  std::optional<int64_t> max_model_len;  // tokens, where the server says it
};

// The model of that name, or the first where the name is empty. A server that lists none is an error, one
// that does not know the name as well.
Result<ServedModelInfo> find_model(HttpClient& client, const std::string& name);

// One answer of a stream, event by event. One choice a request.
class CompletionStream {
 public:
  CompletionStream(CompletionApi api, const Url& url) : api_(api), url_(&url) {}

  struct Piece {
    std::string text;       // may be empty: a token that is part of a character, or special
    bool is_token = false;  // stands for at least one token
  };
  // After an error further events are passed over; finish() says what was wrong.
  Piece take(std::string_view data);
  // The end of the exchange. Not ok: no whole answer came.
  Status finish(const ClientReply& reply);

  const std::string& finish_reason() const { return finish_reason_; }  // empty until there is one
  std::optional<int64_t> prompt_tokens() const { return prompt_tokens_; }
  std::optional<int64_t> completion_tokens() const { return completion_tokens_; }

 private:
  void take_usage(const Json& chunk);

  CompletionApi api_;
  const Url* url_;
  Status status_;
  std::string finish_reason_;
  std::optional<int64_t> prompt_tokens_, completion_tokens_;
  bool done_ = false;
};

}  // namespace fathom
