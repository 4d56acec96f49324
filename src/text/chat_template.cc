#include "text/chat_template.h"

#include <chrono>

#include "base/file.h"
#include "text/tokenizer_json.h"

namespace fathom {
namespace {

constexpr size_t kMaxTemplates = 64;
constexpr const char* kSpecialTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

// "bos_token": "<s>" or {"content": "<s>"}.
Json read_special_tokens(const TokenizerJson& config) {
  Json tokens = Json::object();
  for (const char* key : kSpecialTokens) {
    const auto found = config.find(key);
    if (found == config.end()) continue;
    if (found->is_string()) tokens[key] = found->get<std::string>();
    if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
      tokens[key] = (*found)["content"].get<std::string>();
    }
  }
  return tokens;
}

Status check_messages(const Json& messages) {
  if (!messages.is_array()) return invalid_argument("messages: not a list");
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object()) return invalid_argument("messages[{}]: not an object", i);
    if (!messages[i].contains("role")) return invalid_argument("messages[{}]: no role", i);
  }
  return ok_status();
}

std::time_t time_now() { return std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()); }

}  // namespace

Status ChatTemplate::add(const std::string& name, const std::string& source) {
  FATHOM_ASSIGN_OR_RETURN(jinja::Template body, jinja::Template::parse(source));
  templates_.push_back({name, std::move(body)});
  return ok_status();
}

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::create(const std::string& source,
                                                           const Json& special_tokens) {
  std::unique_ptr<ChatTemplate> result(new ChatTemplate());
  FATHOM_RETURN_IF_ERROR(result->add("default", source).with_context("chat template"));
  result->special_tokens_ = special_tokens;
  return result;
}

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::load(const std::string& model_dir) {
  const std::string own_path = join_path(model_dir, "chat_template.jinja");
  if (!file_exists(own_path)) return from_config(model_dir);
  Json special_tokens = Json::object();
  const std::string config_path = join_path(model_dir, "tokenizer_config.json");
  if (file_exists(config_path)) {
    FATHOM_ASSIGN_OR_RETURN(const TokenizerJson config, read_tokenizer_json(config_path));
    if (config.is_object()) special_tokens = read_special_tokens(config);
  }
  FATHOM_ASSIGN_OR_RETURN(const std::string source, read_file(own_path, jinja::Limits().max_source_bytes));
  auto result = create(source, special_tokens);
  return result.ok() ? std::move(result) : result.status().with_context(own_path);
}

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::from_config(const std::string& model_dir) {
  const std::string path = join_path(model_dir, "tokenizer_config.json");
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson config, read_tokenizer_json(path));
  if (!config.is_object()) return invalid_data("{}: not an object", path);
  if (is_null_field(config, "chat_template")) {
    return not_found(
        "{}: the model has no chat template (neither chat_template here nor a chat_template.jinja)", path);
  }
  std::unique_ptr<ChatTemplate> result(new ChatTemplate());
  result->special_tokens_ = read_special_tokens(config);
  const TokenizerJson& value = config["chat_template"];
  if (value.is_string()) {
    FATHOM_RETURN_IF_ERROR(
        result->add("default", value.get<std::string>()).with_context(path + ": chat_template"));
    return result;
  }
  if (!value.is_array() || value.empty() || value.size() > kMaxTemplates) {
    return invalid_data("{}: chat_template: neither a text nor a list of 1 to {} templates", path,
                        kMaxTemplates);
  }
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string where = fmt::format("{}: chat_template[{}]", path, i);
    const Result<std::string> name = string_field(value[i], "name", "");
    if (!name.ok()) return name.status().with_context(where);
    const Result<std::string> source = string_field(value[i], "template", "");
    if (!source.ok()) return source.status().with_context(where);
    FATHOM_RETURN_IF_ERROR(result->add(*name, *source).with_context(where));
  }
  return result;
}

Result<const jinja::Template*> ChatTemplate::select(const ChatTemplateOptions& options) const {
  const auto find = [this](std::string_view name) -> const jinja::Template* {
    for (const Named& candidate : templates_) {
      if (candidate.name == name) return &candidate.body;
    }
    return nullptr;
  };
  const jinja::Template* found = nullptr;
  if (!options.name.empty()) {
    found = find(options.name);
    if (found == nullptr)
      return invalid_argument("the model has no chat template named \"{}\"", options.name);
    return found;
  }
  if (!options.tools.is_null()) found = find("tool_use");
  if (found == nullptr) found = find("default");
  if (found == nullptr && templates_.size() == 1) found = &templates_.front().body;
  if (found == nullptr)
    return invalid_argument("the model has several chat templates and none is the default");
  return found;
}

Result<std::string> ChatTemplate::render(const Json& messages, const ChatTemplateOptions& options) const {
  FATHOM_RETURN_IF_ERROR(check_messages(messages));
  FATHOM_ASSIGN_OR_RETURN(const jinja::Template* selected, select(options));
  Json variables = special_tokens_;
  variables["messages"] = messages;
  variables["tools"] = options.tools;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = options.generation_prompt == GenerationPrompt::kAdd;
  if (!options.variables.is_null()) {
    if (!options.variables.is_object()) return invalid_argument("the template's variables are not an object");
    for (const auto& [name, value] : options.variables.items()) {
      if (variables.contains(name))
        return invalid_argument("the template's variable \"{}\" cannot be replaced", name);
      variables[name] = value;
    }
  }
  jinja::RenderOptions render_options;
  render_options.limits.max_output_bytes = options.max_output_bytes;
  render_options.now = options.now != 0 ? options.now : time_now();
  Result<std::string> text = selected->render(variables, render_options);
  return text.ok() ? std::move(text) : text.status().with_context("chat template");
}

}  // namespace fathom
