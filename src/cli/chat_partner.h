// Who answers in a conversation: an engine in this process or a server.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace fathom {

struct ChatAnswer {
  std::string text = {};
  std::string finish_reason = {};  // "stop", "length"; "cancelled" where Ctrl-C ended it
  Json details = nullptr;          // what --json prints of it
  std::string statistics = {};     // a line for people
};

class ChatPartner {
 public:
  using TextSink = std::function<void(std::string_view text)>;

  virtual ~ChatPartner() = default;
  // messages: {"role", "content"}, the last is the user's. Stops where interrupted() (cli/interrupt.h) says
  // so.
  virtual Result<ChatAnswer> answer(const Json& messages, const TextSink& sink) = 0;
};

}  // namespace fathom
