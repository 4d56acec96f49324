// A refusal or failure as clients of OpenAI's interface read it.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"
#include "server/http_message.h"

namespace fathom {

struct ApiError {
  int status = 400;
  std::string message;
  std::string param = {};  // the field at fault; empty: null
  std::string code = {};   // empty: null
  Json details = {};       // an object of further members, or null

  // OpenAI's "type", which follows from the status.
  std::string_view type() const;
};

ApiError bad_request(std::string param, std::string message);
ApiError not_implemented(std::string message);
ApiError unavailable(std::string message);
// Of what nobody foresaw.
ApiError unexpected_failure();
// What an engine's or tokenizer's Status means to a client. Messages of kInvalidArgument are shown; others
// say no more than what failed, since they may hold paths.
ApiError api_error_of(const Status& status, std::string param);

// What all clients are told where the engine failed for want of a rank: which, but not the cause, which may
// be any rank's message.
ApiError rank_lost_error(const Status& status);

// {"error": {"message", "type", "param", "code", ...}}
Json error_json(const ApiError& error);
// The whole reply, with Retry-After where waiting helps.
HttpReply error_reply(const ApiError& error);

}  // namespace fathom
