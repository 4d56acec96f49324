// The lines of an answer file. Pure functions.
//   our own form: {"index", "id", "prompt_tokens", "ids", "text", "finish_reason"} or {"index", "id",
//   "error"} OpenAI's batch: {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error"}
// "id" of our own form is there where the prompt's line has one. A request that is refused has a response
// with its status and its error in the body, as over HTTP; a line that is no request has no response and an
// "error".
#pragma once

#include <string>

#include "offline/prompt_file.h"
#include "server/completion_answer.h"

namespace fathom {

// What the line's answer is called: the same in every run of the file, and no other line's, though a file may
// name several lines alike.
std::string request_id(const PromptLine& line);

// The error with the line's place in front of it.
std::string located(const PromptLine& line, const ApiError& error);

// Each one line without its end. The answer is complete, and is taken.
std::string answer_record(const PromptLine& line, FileForm form, CompletionAnswer& answer,
                          const Usage& usage);
std::string error_record(const PromptLine& line, FileForm form, const ApiError& error);

}  // namespace fathom
