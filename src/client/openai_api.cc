#include "client/openai_api.h"

#include <algorithm>

namespace fathom {
namespace {

constexpr JsonLimits kLimits = {.max_bytes = size_t{256} << 20};
constexpr size_t kMaxShownBytes = 300;

// What others wrote, as part of one line on a terminal.
std::string shown(std::string_view text) {
  std::string line(text.substr(0, kMaxShownBytes));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  if (text.size() > kMaxShownBytes) line += "..";
  return line;
}

// {"error": {"message": ..}} of OpenAI; {"error": ".."}, {"message": ..} and {"detail": ..} of others.
std::string error_message(const Json& body) {
  if (!body.is_object()) return {};
  if (body.contains("error") && body["error"].is_object()) return error_message(body["error"]);
  for (const char* key : {"error", "message", "detail"}) {
    if (body.contains(key))
      return body[key].is_string() ? body[key].get<std::string>() : dump_json(body[key]);
  }
  return {};
}

ErrorCode error_code_of(int code) {
  switch (code) {
    case 404:
      return ErrorCode::kNotFound;
    case 429:
    case 503:
      return ErrorCode::kResourceExhausted;
    case 501:
      return ErrorCode::kUnsupported;
    default:
      return code < 500 ? ErrorCode::kInvalidArgument : ErrorCode::kIoError;
  }
}

std::optional<int64_t> count_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<int64_t>();
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string_view api_path(CompletionApi api) {
  return api == CompletionApi::kChat ? "/v1/chat/completions" : "/v1/completions";
}

Status reply_status(const ClientReply& reply, const Url& url) {
  if (!reply.status.ok()) return reply.status;
  if (reply.code >= 200 && reply.code < 300) return ok_status();
  const Result<Json> body = parse_json(reply.body, "the reply", kLimits);
  std::string said = body.ok() ? error_message(*body) : "";
  if (said.empty()) said = reply.body;
  std::string line = fmt::format("{}: status {}: {}", url.text(), reply.code, shown(said));
  if (reply.code == 401 || reply.code == 403) line += " (keys come by --api-key or FATHOM_API_KEY)";
  if (reply.retry_after) line += fmt::format(" (try again in {:g} s)", *reply.retry_after);
  return Status(error_code_of(reply.code), line);
}

Result<Json> reply_json(const ClientReply& reply, const Url& url) {
  FATHOM_RETURN_IF_ERROR(reply_status(reply, url));
  Result<Json> json = parse_json(reply.body, "the reply", kLimits);
  if (json.ok()) return json;
  return invalid_data("{}: what answers is no OpenAI-compatible server: its reply, \"{}\", is no JSON: {}",
                      url.text(), shown(reply.content_type), shown(json.status().message()));
}

Result<ServedModelInfo> find_model(HttpClient& client, const std::string& name) {
  FATHOM_ASSIGN_OR_RETURN(const Json body, reply_json(client.call({"GET", "/v1/models"}), client.url()));
  if (!body.is_object() || !body.contains("data") || !body["data"].is_array()) {
    return invalid_data("{}: /v1/models has no list \"data\"", client.url().text());
  }
  std::string known;
  for (const Json& model : body["data"]) {
    if (!model.is_object()) continue;
    const std::string id = text_of(model, "id");
    if (id == name || (name.empty() && !id.empty()))
      return ServedModelInfo{id, count_of(model, "max_model_len")};
    known += (known.empty() ? "" : ", ") + id;
  }
  return not_found("{}: serves no model{}{}; it has: {}", client.url().text(), name.empty() ? "" : " ", name,
                   shown(known));
}

void CompletionStream::take_usage(const Json& chunk) {
  const auto usage = chunk.find("usage");
  if (usage == chunk.end() || !usage->is_object()) return;
  if (const auto count = count_of(*usage, "prompt_tokens")) prompt_tokens_ = count;
  if (const auto count = count_of(*usage, "completion_tokens")) completion_tokens_ = count;
}

CompletionStream::Piece CompletionStream::take(std::string_view data) {
  if (!status_.ok() || done_) return {};
  if (data == "[DONE]") {
    done_ = true;
    return {};
  }
  const Result<Json> chunk = parse_json(data, "an event of the stream", kLimits);
  if (!chunk.ok() || !chunk->is_object()) {
    status_ = invalid_data("{}: an event of the stream is no JSON object: {}", url_->text(), shown(data));
    return {};
  }
  if (chunk->contains("error")) {
    status_ = io_error("{}: the answer broke off: {}", url_->text(), shown(error_message(*chunk)));
    return {};
  }
  take_usage(*chunk);
  const auto choices = chunk->find("choices");
  if (choices == chunk->end() || !choices->is_array() || choices->empty() || !(*choices)[0].is_object())
    return {};
  const Json& choice = (*choices)[0];
  const std::string reason = text_of(choice, "finish_reason");
  if (!reason.empty()) finish_reason_ = reason;
  if (api_ == CompletionApi::kText) {
    std::string text = text_of(choice, "text");
    // A last chunk that says why the answer ends and nothing else is no token.
    const bool is_token = !text.empty() || reason.empty();
    return {std::move(text), is_token};
  }
  const auto delta = choice.find("delta");
  if (delta == choice.end() || !delta->is_object()) return {};
  std::string text = text_of(*delta, "content");
  const bool is_token = !text.empty() || !text_of(*delta, "reasoning_content").empty();
  return {std::move(text), is_token};
}

Status CompletionStream::finish(const ClientReply& reply) {
  FATHOM_RETURN_IF_ERROR(reply_status(reply, *url_));
  if (!reply.is_event_stream) {
    return invalid_data("{}: the answer is no event stream but \"{}\"; is it an OpenAI-compatible server?",
                        url_->text(), shown(reply.content_type));
  }
  FATHOM_RETURN_IF_ERROR(status_);
  if (!done_ && finish_reason_.empty())
    return io_error("{}: the stream ended before the answer did", url_->text());
  return ok_status();
}

}  // namespace fathom
