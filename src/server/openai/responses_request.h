// Requests to /v1/responses: said again as a chat completion, whose rules then hold. Stateless: nothing is
// stored, so nothing can be referred to.
#pragma once

#include <variant>

#include "server/openai.h"

namespace fathom {

struct ResponsesRequest {
  CompletionRequest completion;  // a chat with one answer
  Json echoed;                   // members of the request that the response shows again
};

// Errors name the field of this interface.
std::variant<ResponsesRequest, ApiError> parse_responses(const Json& body, const ServedModel& model,
                                                         const ServerLimits& limits);

// The body of the chat completion that asks for the same.
std::variant<Json, ApiError> chat_body_of_responses(const Json& body);

}  // namespace fathom
