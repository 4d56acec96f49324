#include "server/anthropic/messages_reply.h"

#include "server/sse.h"

namespace fathom {
namespace {

std::string event(const char* type, Json members) {
  Json json = {{"type", type}};
  json.update(members);
  return sse_event(type, dump_json(json));
}

std::string_view error_type(const ApiError& error) {
  if (error.status == 413) return "request_too_large";
  if (error.status == 503) return "overloaded_error";
  if (error.status == 501) return "invalid_request_error";
  if (error.status == 500) return "api_error";
  return error.type();
}

Json error_body(const ApiError& error, const std::string& request_id) {
  Json inner = {{"type", error_type(error)}, {"message", error.message}};
  if (!error.param.empty()) inner["param"] = error.param;
  return {{"type", "error"}, {"error", std::move(inner)}, {"request_id", request_id}};
}

Json usage_of(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.completion_tokens}};
}

// {"stop_reason", "stop_sequence"}
Json reason_of(const std::vector<AnswerItem>& items, const AnswerEnd& end) {
  const bool calls = !items.empty() && items.back().is_call;
  const char* reason = end.reason == FinishReason::kLength ? "max_tokens"
                       : calls                             ? "tool_use"
                       : end.stop_reason.is_string()       ? "stop_sequence"
                                                           : "end_turn";
  return {{"stop_reason", reason},
          {"stop_sequence", end.stop_reason.is_string() ? end.stop_reason : Json(nullptr)}};
}

}  // namespace

HttpReply anthropic_error_reply(const ApiError& error, const std::string& request_id) {
  HttpReply reply = error_reply(error);
  reply.body = dump_json(error_body(error, request_id));
  return reply;
}

Json MessagesWriter::frame() const {
  return {{"id", "msg_" + id_},      {"type", "message"},        {"role", "assistant"},
          {"model", model_->name()}, {"content", Json::array()}, {"stop_reason", nullptr},
          {"stop_sequence", nullptr}};
}

std::string MessagesWriter::begin(const Usage& usage) {
  Json message = frame();
  message["usage"] = usage_of(usage);
  return event("message_start", {{"message", std::move(message)}}) + event("ping", Json::object());
}

std::string MessagesWriter::piece(size_t index, const AnswerItem& piece, bool opens) {
  std::string events;
  if (opens) {
    Json block = {{"type", "text"}, {"text", ""}};
    if (piece.is_call) {
      block = {{"type", "tool_use"}, {"id", tool_id(index)}, {"name", piece.name}, {"input", Json::object()}};
    }
    events = event("content_block_start", {{"index", index}, {"content_block", std::move(block)}});
  }
  if (piece.text.empty()) return events;
  const Json delta = piece.is_call ? Json{{"type", "input_json_delta"}, {"partial_json", piece.text}}
                                   : Json{{"type", "text_delta"}, {"text", piece.text}};
  return events + event("content_block_delta", {{"index", index}, {"delta", delta}});
}

std::string MessagesWriter::item_end(size_t index, const AnswerItem&) {
  return event("content_block_stop", {{"index", index}});
}

std::string MessagesWriter::end(const std::vector<AnswerItem>& items, const AnswerEnd& end) {
  return event("message_delta", {{"delta", reason_of(items, end)}, {"usage", usage_of(end.usage)}}) +
         event("message_stop", Json::object());
}

std::string MessagesWriter::error_event(const ApiError& error) {
  return sse_event("error", dump_json(error_body(error, id_)));
}

HttpReply MessagesWriter::error(const ApiError& error) { return anthropic_error_reply(error, id_); }

Json MessagesWriter::whole(const std::vector<AnswerItem>& items, const AnswerEnd& end) {
  Json message = frame();
  for (size_t i = 0; i < items.size(); ++i) {
    const AnswerItem& item = items[i];
    if (!item.is_call) {
      if (item.text.empty()) continue;
      message["content"].push_back({{"type", "text"}, {"text", item.text}});
      continue;
    }
    // Cut by the limit, arguments may be no JSON yet.
    auto input = parse_json(item.text, "arguments", {.max_bytes = SIZE_MAX});
    message["content"].push_back({{"type", "tool_use"},
                                  {"id", tool_id(i)},
                                  {"name", item.name},
                                  {"input", input.ok() ? std::move(input).value() : Json::object()}});
  }
  message.update(reason_of(items, end));
  message["usage"] = usage_of(end.usage);
  return message;
}

}  // namespace fathom
