#include "offline/prompt_file.h"

#include <optional>
#include <unordered_map>

#include "base/checksum.h"
#include "base/file.h"
#include "base/random.h"
#include "base/text_lines.h"

namespace fathom {
namespace {

constexpr JsonLimits kLineLimits = {.max_bytes = size_t{512} << 20, .max_depth = 64};
// Of our own form: passed on as they are.
constexpr const char* kOwnFields[] = {
    "messages",
    "max_tokens",
    "min_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "ignore_eos",
    "repetition_penalty",
    "stop",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "stop_token_ids",
    "chat_template_kwargs",
};
constexpr const char* kChatUrl = "/v1/chat/completions";
constexpr const char* kTextUrl = "/v1/completions";

// A null stands for what is left out, as it does in OpenAI's interface.
bool is_given(const Json& object, const std::string& key) {
  const auto found = object.find(key);
  return found != object.end() && !found->is_null();
}

bool is_batch(const Json& line) { return line.contains("custom_id") || line.contains("body"); }

ApiError not_a_request(const PromptLine& line, std::string_view why) {
  return {.status = 400, .message = fmt::format("{}: {}", line.where, why), .code = "invalid_line"};
}

void read_own(const Json& value, PromptLine& line) {
  if (const auto id = value.find("id"); id != value.end()) line.id = *id;
  if (!line.id.is_null() && !line.id.is_string() && !line.id.is_number_integer()) {
    line.id = nullptr;
    line.body = not_a_request(line, "id must be a string or an integer");
    return;
  }
  Json body = Json::object();
  for (const char* key : kOwnFields) {
    if (is_given(value, key)) body[key] = value[key];
  }
  const char* text = value.contains("prompt") ? "prompt" : "text";
  if (body.contains("messages")) {
    line.kind = CompletionKind::kChat;
  } else if (const auto ids = value.find("ids"); ids != value.end() && ids->is_array()) {
    body["prompt"] = *ids;
  } else if (value.contains(text) && value[text].is_string()) {
    body["prompt"] = value[text];
  } else {
    line.body = not_a_request(line, "not an object with \"prompt\", \"text\", \"ids\" or \"messages\"");
    return;
  }
  line.body = std::move(body);
}

// What is wrong with a batch's line, or nullptr.
const char* batch_fault(const Json& value) {
  const auto is_text = [&value](const char* key) { return value.contains(key) && value[key].is_string(); };
  if (!is_text("custom_id")) return "custom_id must be a string";
  if (!is_text("method") || value["method"] != "POST") return "method must be \"POST\"";
  if (!is_text("url") || (value["url"] != kChatUrl && value["url"] != kTextUrl))
    return "url must be \"/v1/chat/completions\" or \"/v1/completions\"";
  if (!value.contains("body") || !value["body"].is_object()) return "body must be an object";
  return nullptr;
}

void read_batch(Json value, std::unordered_map<std::string, std::string>& seen, PromptLine& line) {
  if (value.contains("custom_id") && value["custom_id"].is_string()) line.id = value["custom_id"];
  if (const char* fault = batch_fault(value)) {
    line.body = not_a_request(line, fault);
    return;
  }
  const auto [first, is_new] = seen.emplace(line.id.get<std::string>(), line.where);
  if (!is_new) {
    line.body =
        not_a_request(line, fmt::format("custom_id {} is that of {}", dump_json(line.id), first->second));
    return;
  }
  line.kind = value["url"] == kChatUrl ? CompletionKind::kChat : CompletionKind::kText;
  line.body = std::move(value["body"]);
}

int64_t seed_of(uint64_t seed, const Json& custom_id) {
  return static_cast<int64_t>(random_key(seed, custom_id.get_ref<const std::string&>()) >> 1);
}

// The line's fields over the defaults.
Json merged_body(const PromptLine& line, FileForm form, const LineDefaults& defaults) {
  Json body = std::get<Json>(line.body);
  for (const auto& [key, value] : defaults.fields.items()) {
    const bool said = key == "max_tokens" && is_given(body, "max_completion_tokens");
    if (!said && !is_given(body, key)) body[key] = value;
  }
  if (form == FileForm::kOwn && !is_given(body, "max_tokens")) body["max_tokens"] = defaults.own_max_tokens;
  if (!is_given(body, "seed")) {
    body["seed"] =
        form == FileForm::kBatch ? seed_of(defaults.seed, line.id) : static_cast<int64_t>(defaults.seed);
  }
  body.erase("model");
  return body;
}

// How many tokens of an answer the context has room for, where that is why the request was refused.
std::optional<int64_t> room_left(const ApiError& error) {
  if (error.code != "context_length_exceeded" || !error.details.is_object()) return std::nullopt;
  const int64_t room =
      error.details.value("n_ctx", int64_t{0}) - error.details.value("n_prompt_tokens", int64_t{0});
  if (room < 1) return std::nullopt;
  return room;
}

}  // namespace

Result<PromptFile> read_prompt_file(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(path, kMaxPromptFileBytes));
  PromptFile file{.form = FileForm::kOwn, .lines = {}, .checksum = checksum_of(content)};
  std::optional<FileForm> form;
  std::unordered_map<std::string, std::string> seen;
  const auto read_line = [&](size_t number, std::string_view text) {
    PromptLine line{.index = file.lines.size(), .where = fmt::format("{} line {}", path, number)};
    Result<Json> value = parse_json(text, line.where, kLineLimits);
    if (!value.ok()) {
      line.body = ApiError{.status = 400, .message = value.status().message(), .code = "invalid_line"};
    } else if (!value->is_object()) {
      line.body = not_a_request(line, "not an object");
    } else {
      if (!form) form = is_batch(*value) ? FileForm::kBatch : FileForm::kOwn;
      if (*form == FileForm::kBatch) {
        read_batch(std::move(value).value(), seen, line);
      } else {
        read_own(*value, line);
      }
    }
    file.lines.push_back(std::move(line));
    return ok_status();
  };
  FATHOM_RETURN_IF_ERROR(for_each_line(content, read_line));
  if (file.lines.empty()) return invalid_data("{}: no line with a prompt", path);
  file.form = form.value_or(FileForm::kOwn);
  return file;
}

std::variant<CompletionRequest, ApiError> parse_line(const PromptLine& line, FileForm form,
                                                     const ServedModel& model, const LineDefaults& defaults) {
  if (const auto* error = std::get_if<ApiError>(&line.body)) return *error;
  Json body = merged_body(line, form, defaults);
  CompletionKind kind = line.kind;
  if (form == FileForm::kOwn) {
    body["return_token_ids"] = true;
    if (defaults.chat && kind == CompletionKind::kText && body["prompt"].is_string()) {
      kind = CompletionKind::kChat;
      body["messages"] = Json::array({{{"role", "user"}, {"content", body["prompt"]}}});
      body.erase("prompt");
    }
  }
  ServerLimits limits;
  limits.max_reply_logprobs = INT64_MAX / 2;  // the file's writer has the machine to himself
  auto parsed = parse_completion(kind, body, model, limits);
  if (const auto* error = std::get_if<ApiError>(&parsed); error != nullptr && form == FileForm::kOwn) {
    if (const auto room = room_left(*error)) {
      body["max_tokens"] = *room;
      parsed = parse_completion(kind, body, model, ServerLimits());
    }
  }
  const auto* request = std::get_if<CompletionRequest>(&parsed);
  if (request != nullptr && request->reply.stream)
    return bad_request("stream", "stream is not offered in a file of requests");
  return parsed;
}

}  // namespace fathom
