#include "cli/prompt_reader.h"

namespace fathom {

Result<std::vector<int32_t>> PromptReader::from_text(const std::string& text) {
  if (texts_ == TextPrompt::kAsItIs) return encode(text, {});
  return from_messages(Json::array({Json{{"role", "user"}, {"content", text}}}));
}

Result<std::vector<int32_t>> PromptReader::from_messages(const Json& messages) {
  if (!template_) {
    FATHOM_ASSIGN_OR_RETURN(template_, ChatTemplate::load(model_dir_));
  }
  FATHOM_ASSIGN_OR_RETURN(const std::string text, template_->render(messages));
  return encode(text, {.add_bos = AddBos::kNever});
}

Result<std::vector<int32_t>> PromptReader::encode(const std::string& text,
                                                  const EncodeOptions& encode_options) {
  if (engine_.tokenizer() == nullptr) {
    return invalid_argument("{}: no tokenizer.json, so only --ids can be run", model_dir_);
  }
  return engine_.tokenizer()->encode(text, encode_options);
}

}  // namespace fathom
