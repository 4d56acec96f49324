// Files of prompts, one JSON object a line, in one of two forms:
// - our own: {"prompt": ..} or {"text": ..}, {"ids": [..]} or {"messages": [..]}, with sampling parameters;
// - OpenAI's batch files: {"custom_id": .., "method": "POST", "url": "/v1/chat/completions", "body": {..}}.
// The first line that is a JSON object decides for the file. A line that cannot be answered is kept with its
// error: it takes nothing from the others.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "server/openai.h"

namespace fathom {

enum class FileForm { kOwn, kBatch };

struct PromptLine {
  size_t index = 0;        // among the lines that are not blank, from 0
  std::string where = {};  // "FILE line 7"
  Json id = {};            // "id" or "custom_id" as it stands; null where there is none
  CompletionKind kind = CompletionKind::kText;
  // What is asked, in the fields of OpenAI's interface, or why the line is no request.
  std::variant<Json, ApiError> body = {};
};

struct PromptFile {
  FileForm form = FileForm::kOwn;
  std::vector<PromptLine> lines;  // index by index
  std::string checksum;           // of the whole file
};

inline constexpr size_t kMaxPromptFileBytes = size_t{4} << 30;

// Fails only where the file cannot be read or has no line.
Result<PromptFile> read_prompt_file(const std::string& path);

// For what a line leaves out.
struct LineDefaults {
  Json fields = Json::object();  // of OpenAI's interface
  int64_t own_max_tokens = 256;  // of our own form; a batch has OpenAI's defaults
  uint64_t seed = 0;  // a line of our own form has it; a batch's line one made of it and its custom_id
  bool chat = false;  // prompts of our own form go through the chat template
};

// The line's request, checked and turned into tokens. In our own form an answer that would not fit into the
// context is cut at its end; in OpenAI's that is an error, as its servers have it. The model a batch names is
// not looked at.
std::variant<CompletionRequest, ApiError> parse_line(const PromptLine& line, FileForm form,
                                                     const ServedModel& model, const LineDefaults& defaults);

}  // namespace fathom
