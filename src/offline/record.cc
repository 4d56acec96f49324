#include "offline/record.h"

#include "base/checksum.h"

namespace fathom {
namespace {

Json own_frame(const PromptLine& line) {
  Json record = {{"index", line.index}};
  if (!line.id.is_null()) record["id"] = line.id;
  return record;
}

// body: JSON text.
std::string batch_response(const PromptLine& line, int status, std::string_view body) {
  const std::string id = request_id(line);
  return fmt::format(
      R"({{"id":"batch_req_{}","custom_id":{},"response":{{"status_code":{},"request_id":"{}","body":{}}},"error":null}})",
      id, dump_json(line.id), status, id, body);
}

}  // namespace

std::string request_id(const PromptLine& line) {
  return checksum_of(fmt::format("{} {}", line.index, dump_json(line.id)));
}

std::string located(const PromptLine& line, const ApiError& error) {
  if (error.message.starts_with(line.where)) return error.message;
  return fmt::format("{}: {}", line.where, error.message);
}

std::string answer_record(const PromptLine& line, FileForm form, CompletionAnswer& answer,
                          const Usage& usage) {
  if (form == FileForm::kBatch) return batch_response(line, 200, answer.whole(usage));
  const ChoicePiece& choice = answer.choices().front();
  Json ids = Json::array();
  for (const SampledToken& token : choice.tokens) ids.push_back(token.id);
  Json record = own_frame(line);
  record["prompt_tokens"] = usage.prompt_tokens;
  record["ids"] = std::move(ids);
  record["text"] = choice.text;
  record["finish_reason"] = finish_reason_name(choice.finish_reason);
  return dump_json(record);
}

std::string error_record(const PromptLine& line, FileForm form, const ApiError& error) {
  if (form == FileForm::kOwn) {
    Json record = own_frame(line);
    record["error"] = located(line, error);
    return dump_json(record);
  }
  if (std::holds_alternative<Json>(line.body))
    return batch_response(line, error.status, dump_json(error_json(error)));
  return dump_json({{"id", "batch_req_" + request_id(line)},
                    {"custom_id", line.id},
                    {"response", nullptr},
                    {"error", {{"code", error.code}, {"message", error.message}}}});
}

}  // namespace fathom
