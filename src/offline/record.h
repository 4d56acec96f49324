// The lines of an answer file. Pure functions.
//   our own form: {"index", "id", "prompt_tokens", "ids", "text", "finish_reason"} or {"index", "id",
//   "error"} OpenAI's batch: {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error"}
// "id" of our own form is there where the prompt's line has one. A request that is refused has a response
// with its status and its error in the body, as over HTTP; a line that is no request has no response and an
// "error".
#pragma once

#include <string>
#include <vector>

#include "offline/prompt_file.h"
#include "server/openai.h"

namespace fathom {

// What has become of a line's request.
struct LineAnswer {
  const ReplyOptions* reply = nullptr;
  const std::vector<ChoicePiece>* choices = nullptr;  // complete
  Usage usage;
};

// The error with the line's place in front of it.
std::string located(const PromptLine& line, const ApiError& error);

// One line without its end.
std::string answer_record(const PromptLine& line, FileForm form, const LineAnswer& answer,
                          const ServedModel& model);
std::string error_record(const PromptLine& line, FileForm form, const ApiError& error);

}  // namespace fathom
