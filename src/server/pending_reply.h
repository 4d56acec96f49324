// The exchange of a reply that is computed elsewhere: it lives as long as somebody waits for the reply.
#pragma once

#include <string>

#include "server/api_error.h"
#include "server/http_message.h"

namespace fathom {

class PendingReply : public Exchange {
 public:
  // writer must outlive the exchange.
  explicit PendingReply(ResponseWriter& writer) : writer_(writer) {}

  void break_off(const std::string& cause) override {
    cause_ = cause;
    writer_.reply(error_reply(unexpected_failure()));
  }
  std::string log_note() const override { return cause_.empty() ? cause_ : " (" + cause_ + ")"; }

 private:
  ResponseWriter& writer_;
  std::string cause_;
};

}  // namespace fathom
