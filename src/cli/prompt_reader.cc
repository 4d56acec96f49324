#include "cli/prompt_reader.h"

#include <algorithm>

#include "base/file.h"
#include "cli/id_list.h"

namespace fathom {
namespace {

constexpr size_t kMaxFileBytes = size_t{512} << 20;

}  // namespace

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

Result<std::vector<std::vector<int32_t>>> PromptReader::from_json_lines(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(path, kMaxFileBytes));
  std::vector<std::vector<int32_t>> prompts;
  size_t number = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const std::string line = content.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("{} line {}", path, number);
    FATHOM_ASSIGN_OR_RETURN(std::vector<int32_t> ids, from_json_line(line, where));
    prompts.push_back(std::move(ids));
  }
  return prompts;
}

Result<std::vector<int32_t>> PromptReader::encode(const std::string& text,
                                                  const EncodeOptions& encode_options) {
  if (engine_.tokenizer() == nullptr) {
    return invalid_argument("{}: no tokenizer.json, so only --ids can be run", model_dir_);
  }
  return engine_.tokenizer()->encode(text, encode_options);
}

Result<std::vector<int32_t>> PromptReader::from_json_line(const std::string& line, const std::string& where) {
  FATHOM_ASSIGN_OR_RETURN(const Json value, parse_json(line, where, {.max_bytes = kMaxFileBytes}));
  if (value.is_object() && value.contains("messages")) return from_messages(value["messages"]);
  if (value.is_object() && value.contains("ids")) return ids_from_json(value["ids"], where);
  for (const char* key : {"prompt", "text"}) {
    if (value.is_object() && value.contains(key) && value[key].is_string()) {
      return from_text(value[key].get<std::string>());
    }
  }
  return invalid_data("{}: not an object with \"prompt\", \"text\", \"ids\" or \"messages\"", where);
}

}  // namespace fathom
