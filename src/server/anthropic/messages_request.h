// Requests to Anthropic's /v1/messages: said again as a chat completion, whose rules then hold.
#pragma once

#include <variant>

#include "server/openai.h"

namespace fathom {

enum class MessagesPurpose : uint8_t { kAnswer, kCount };

// A chat with one answer. Errors name the field of this interface. kCount: max_tokens is not needed.
std::variant<CompletionRequest, ApiError> parse_anthropic_messages(const Json& body, MessagesPurpose purpose,
                                                                   const ServedModel& model,
                                                                   const ServerLimits& limits);

// The body of the chat completion that asks for the same.
std::variant<Json, ApiError> chat_body_of_messages(const Json& body, MessagesPurpose purpose);

}  // namespace fathom
