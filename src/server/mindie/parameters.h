// What TGI's, Triton's and MindIE's own protocol share in reading a body: its prompt and its `parameters`.
#pragma once

#include <functional>

#include "server/mindie/answer.h"
#include "server/request_fields.h"

namespace fathom::mindie {

inline constexpr int64_t kDefaultNewTokens = 20;

// Reads `parameters`, where the body has them: sampling, max_new_tokens, priority, timeout, and, by own, what
// one protocol has beyond that. An error is the body's afterwards.
void read_parameters(RequestFields& body, const ServedModel& model, Prepared& prepared,
                     const std::function<void(RequestFields&)>& own);

// The tokens of a text at `key`; an error where there is none.
std::optional<ApiError> read_prompt_text(const Json& body, const char* key, const Context& context,
                                         GenerationRequest& generation);

// Answers end where the context or the server's limit does, whatever was asked for; a prompt that leaves
// them no room is refused. Then the sampling is checked as a whole.
std::optional<ApiError> settle(const Context& context, GenerationRequest& generation);

}  // namespace fathom::mindie
