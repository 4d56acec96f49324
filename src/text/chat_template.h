// The chat template of a model folder: messages to the prompt that the model was trained on.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "text/jinja/template.h"

namespace fathom {

enum class GenerationPrompt { kAdd, kOmit };

struct ChatTemplateOptions {
  GenerationPrompt generation_prompt =
      GenerationPrompt::kAdd;  // ends with the opening of the assistant's turn
  Json tools;                  // a list of tool descriptions, or null
  Json variables;    // further variables of the template, an object, or null; they may not replace the ones
                     // below
  std::string name;  // which of several templates; empty: "tool_use" where there are tools and it exists,
                     // else "default"
  size_t max_output_bytes = size_t{64} << 20;
  std::time_t now = 0;  // what strftime_now shows; 0: the time of the call
};

// Immutable after loading: any number of threads.
class ChatTemplate {
 public:
  // From chat_template.jinja, or chat_template in tokenizer_config.json (one text or a list of named ones),
  // and the special tokens of tokenizer_config.json. A folder without a template is an error of kind
  // kNotFound.
  static Result<std::unique_ptr<ChatTemplate>> load(const std::string& model_dir);
  // From one template; special_tokens: an object such as {"bos_token": "<s>"}.
  static Result<std::unique_ptr<ChatTemplate>> create(const std::string& source, const Json& special_tokens);

  // messages: a list of objects, each with a "role". The template sees them as they are, and tools, documents
  // (none), add_generation_prompt and the special tokens by name. Encode the result without adding BOS:
  // templates write it. Errors are those of the template's own raise_exception, of messages it cannot take,
  // and of its limits.
  Result<std::string> render(const Json& messages, const ChatTemplateOptions& options = {}) const;

 private:
  struct Named {
    std::string name;
    jinja::Template body;
  };
  ChatTemplate() = default;
  static Result<std::unique_ptr<ChatTemplate>> from_config(const std::string& model_dir);
  Status add(const std::string& name, const std::string& source);
  Result<const jinja::Template*> select(const ChatTemplateOptions& options) const;

  std::vector<Named> templates_;  // at least one
  Json special_tokens_ = Json::object();
};

}  // namespace fathom
