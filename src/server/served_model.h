// The loaded model as the handlers need it: names, sizes, tokenizer, template, defaults. Immutable after
// loading: any number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/engine.h"
#include "server/api_error.h"
#include "server/chat/tool_use.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace fathom {

// The sampling parameters that a request leaves out.
enum class SamplingDefaults { kModel, kNeutral };  // generation_config.json's, or OpenAI's

enum class ChatEnding : uint8_t {
  kOpenAnswer,    // the opening of the assistant's turn
  kNone,          // what the template closes the last message with
  kContinueLast,  // the last message itself, to be gone on with
};

struct ChatRendering {
  ChatEnding ending = ChatEnding::kOpenAnswer;
  Json variables = {};  // an object or null
  Json tools = {};      // as OpenAI's, where the template has a place for them; or null
};

class ServedModel {
 public:
  // The engine must outlive this. names: what requests may call the model; the first is shown.
  static Result<std::unique_ptr<ServedModel>> create(const Engine& engine, const std::string& model_dir,
                                                     std::vector<std::string> names,
                                                     SamplingDefaults defaults);

  const std::string& name() const { return names_.front(); }
  const std::vector<std::string>& names() const { return names_; }
  // Those to be listed: not where the folder lies on this machine, whatever else it is called.
  std::vector<std::string> shown_names() const;
  // Null, or the 404 for a name that is not served.
  std::optional<ApiError> check_name(const std::string& name) const;
  int64_t created() const { return created_; }  // seconds since 1970
  int64_t max_model_len() const { return max_model_len_; }
  int32_t vocab_size() const { return vocab_size_; }
  // What an answer depends on beside its request, in a word; may be empty.
  const std::string& fingerprint() const { return fingerprint_; }
  void set_fingerprint(std::string fingerprint) { fingerprint_ = std::move(fingerprint); }
  DType dtype() const { return dtype_; }  // the checkpoint's
  // A prompt of one token for probes: the beginning of a text, where the tokenizer has one.
  int32_t probe_token() const { return tokenizer_ != nullptr ? tokenizer_->bos_id().value_or(0) : 0; }
  // The model's own end of an answer.
  bool is_end_token(int32_t id) const;
  const SamplingParams& default_sampling() const { return default_sampling_; }
  // Null where the folder has none.
  const Tokenizer* tokenizer() const { return tokenizer_; }

  using Text = std::variant<std::string, ApiError>;
  using Ids = std::variant<std::vector<int32_t>, ApiError>;

  struct Rendered {
    std::string text;
    std::vector<int32_t> ids;
  };
  // The chat template over messages, a list of {"role", "content", ..} with content a string. Special tokens
  // written out in messages or tools stay text: only the template's own become ids.
  std::variant<Rendered, ApiError> render(const Json& messages, const ChatRendering& rendering) const;
  const ToolFormat& tool_format() const { return tool_format_; }

  // Text of a completion. The error's param is "prompt".
  Ids encode(const std::string& text, const EncodeOptions& options) const;

 private:
  ServedModel() = default;
  // A text so long that no cutting into tokens could fit.
  std::optional<ApiError> check_text_bytes(size_t bytes, const char* param) const;
  bool holds_special(const std::string& text) const;
  // Puts the mark into every special token that a string of value spells.
  void break_special(Json& value, const std::string& mark) const;
  // mark: what breaks special tokens that a content spells; empty: none does.
  Ids encode_rendered(const std::string& text, const std::string& mark) const;

  std::vector<std::string> names_;
  std::string directory_;
  std::string fingerprint_;
  int64_t created_ = 0;
  int64_t max_model_len_ = 0;
  int32_t vocab_size_ = 0;
  DType dtype_ = DType::kFloat32;
  std::vector<int64_t> end_ids_;
  SamplingParams default_sampling_;
  const Tokenizer* tokenizer_ = nullptr;
  std::unique_ptr<ChatTemplate> template_;
  ToolFormat tool_format_;
  std::vector<std::string> special_spellings_;
  size_t longest_token_bytes_ = 0;
};

// The 400 for a prompt, or a prompt and its answer, over the context.
ApiError context_exceeded(int64_t prompt_tokens, int64_t answer_tokens, int64_t max_model_len);

}  // namespace fathom
