// Refusals and failures as clients of MindIE Service read them: {"error", "error_type"}.
#pragma once

#include "server/api_error.h"

namespace fathom::mindie {

// What OpenAI's clients get as 400 is 422 here, and a deadline that passed is a 500.
int refusal_status(const ApiError& error);
Json refusal_json(const ApiError& error);
// The whole reply, with Retry-After where waiting helps.
HttpReply refusal_reply(const ApiError& error);

}  // namespace fathom::mindie
