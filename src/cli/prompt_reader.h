// Prompts as token ids: from a text, or from messages through the model's template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "text/chat_template.h"

namespace fathom {

enum class TextPrompt { kAsItIs, kAsMessage };

class PromptReader {
 public:
  // What a text is: the prompt itself, or a user's message. The engine outlives the reader.
  PromptReader(std::string model_dir, const Engine& engine, TextPrompt texts)
      : model_dir_(std::move(model_dir)), engine_(engine), texts_(texts) {}

  Result<std::vector<int32_t>> from_text(const std::string& text);
  // Templates write BOS and other special tokens themselves.
  Result<std::vector<int32_t>> from_messages(const Json& messages);

 private:
  Result<std::vector<int32_t>> encode(const std::string& text, const EncodeOptions& encode_options);

  std::string model_dir_;
  const Engine& engine_;
  TextPrompt texts_;
  std::unique_ptr<ChatTemplate> template_;
};

}  // namespace fathom
