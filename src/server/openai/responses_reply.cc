#include "server/openai/responses_reply.h"

#include <ctime>

#include "server/sse.h"

namespace fathom {

ResponsesWriter::ResponsesWriter(std::string request_id, const ServedModel& model, Json echoed)
    : id_(std::move(request_id)),
      model_(&model),
      echoed_(std::move(echoed)),
      created_(static_cast<int64_t>(std::time(nullptr))) {}

std::string ResponsesWriter::event(const char* type, Json members) {
  Json json = {{"type", type}, {"sequence_number", num_events_++}};
  json.update(members);
  return sse_event(type, dump_json(json));
}

std::string ResponsesWriter::item_id(size_t index, const AnswerItem& item) const {
  return fmt::format("{}_{}_{}", item.is_call ? "fc" : "msg", id_, index);
}

Json ResponsesWriter::logprobs(const AnswerItem& item) const {
  if (item.tokens.empty()) return Json::array();
  return chat_logprobs_json(model_->tokenizer(), item.tokens)["content"];
}

Json ResponsesWriter::text_part(const AnswerItem& item) const {
  return {{"type", "output_text"},
          {"text", item.text},
          {"annotations", Json::array()},
          {"logprobs", logprobs(item)}};
}

Json ResponsesWriter::item_json(size_t index, const AnswerItem& item, const char* status) const {
  if (item.is_call) {
    return {{"id", item_id(index, item)}, {"type", "function_call"},
            {"status", status},           {"call_id", fmt::format("call_{}_{}", id_, index)},
            {"name", item.name},          {"arguments", item.text}};
  }
  const bool is_new = std::string_view(status) == "in_progress";
  return {{"id", item_id(index, item)},
          {"type", "message"},
          {"status", status},
          {"role", "assistant"},
          {"content", is_new ? Json::array() : Json::array({text_part(item)})}};
}

Json ResponsesWriter::response(const char* status) const {
  Json json = {{"id", "resp_" + id_},
               {"object", "response"},
               {"created_at", created_},
               {"status", status},
               {"background", false},
               {"error", nullptr},
               {"incomplete_details", nullptr},
               {"instructions", nullptr},
               {"max_output_tokens", nullptr},
               {"model", model_->name()},
               {"output", Json::array()},
               {"parallel_tool_calls", true},
               {"previous_response_id", nullptr},
               {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
               {"store", false},
               {"temperature", nullptr},
               {"text", {{"format", {{"type", "text"}}}}},
               {"tool_choice", "auto"},
               {"tools", Json::array()},
               {"top_logprobs", 0},
               {"top_p", nullptr},
               {"truncation", "disabled"},
               {"usage", nullptr},
               {"user", nullptr},
               {"metadata", Json::object()}};
  json.update(echoed_);
  return json;
}

std::string ResponsesWriter::begin(const Usage&) {
  std::string events = event("response.created", {{"response", response("in_progress")}});
  events += event("response.in_progress", {{"response", response("in_progress")}});
  return events;
}

std::string ResponsesWriter::piece(size_t index, const AnswerItem& piece, bool opens) {
  std::string events;
  if (opens) {
    AnswerItem fresh{.is_call = piece.is_call, .text = {}, .name = piece.name};
    events += event("response.output_item.added",
                    {{"output_index", index}, {"item", item_json(index, fresh, "in_progress")}});
    if (!piece.is_call) {
      events += event("response.content_part.added", {{"item_id", item_id(index, piece)},
                                                      {"output_index", index},
                                                      {"content_index", 0},
                                                      {"part", text_part(fresh)}});
    }
  }
  if (piece.text.empty()) return events;
  if (piece.is_call) {
    return events +
           event("response.function_call_arguments.delta",
                 {{"item_id", item_id(index, piece)}, {"output_index", index}, {"delta", piece.text}});
  }
  return events + event("response.output_text.delta", {{"item_id", item_id(index, piece)},
                                                       {"output_index", index},
                                                       {"content_index", 0},
                                                       {"delta", piece.text},
                                                       {"logprobs", logprobs(piece)}});
}

std::string ResponsesWriter::item_end(size_t index, const AnswerItem& item) {
  Json place = {{"item_id", item_id(index, item)}, {"output_index", index}};
  std::string events;
  if (item.is_call) {
    place.update({{"name", item.name}, {"arguments", item.text}});
    events = event("response.function_call_arguments.done", place);
  } else {
    place["content_index"] = 0;
    Json text = place, part = place;
    text.update({{"text", item.text}, {"logprobs", logprobs(item)}});
    part["part"] = text_part(item);
    events = event("response.output_text.done", text);
    events += event("response.content_part.done", part);
  }
  return events + event("response.output_item.done",
                        {{"output_index", index}, {"item", item_json(index, item, "completed")}});
}

Json ResponsesWriter::whole(const std::vector<AnswerItem>& items, const AnswerEnd& end) {
  const bool is_complete = end.reason == FinishReason::kStop;
  Json json = response(is_complete ? "completed" : "incomplete");
  if (!is_complete) json["incomplete_details"] = {{"reason", "max_output_tokens"}};
  for (size_t i = 0; i < items.size(); ++i) {
    const bool is_cut = !is_complete && i + 1 == items.size();
    json["output"].push_back(item_json(i, items[i], is_cut ? "incomplete" : "completed"));
  }
  json["usage"] = {{"input_tokens", end.usage.prompt_tokens},
                   {"input_tokens_details", {{"cached_tokens", end.usage.cached_tokens}}},
                   {"output_tokens", end.usage.completion_tokens},
                   {"output_tokens_details", {{"reasoning_tokens", 0}}},
                   {"total_tokens", end.usage.prompt_tokens + end.usage.completion_tokens}};
  return json;
}

std::string ResponsesWriter::end(const std::vector<AnswerItem>& items, const AnswerEnd& end) {
  const bool is_complete = end.reason == FinishReason::kStop;
  return event(is_complete ? "response.completed" : "response.incomplete", {{"response", whole(items, end)}});
}

std::string ResponsesWriter::error_event(const ApiError& error) {
  Json json = response("failed");
  json["error"] = {{"code", error.code.empty() ? "server_error" : error.code}, {"message", error.message}};
  return event("response.failed", {{"response", std::move(json)}});
}

}  // namespace fathom
