#include "load/token_source.h"

#include "client/openai_api.h"

namespace fathom {

Result<int64_t> LocalTokens::count(std::string_view text) {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                          tokenizer_.encode(text, {.add_bos = AddBos::kNever}));
  return static_cast<int64_t>(ids.size());
}

Result<Json> ServerTokens::ask(HttpCall call) {
  const Result<Json> reply = reply_json(client_.call(std::move(call)), client_.url());
  if (reply.ok()) return reply;
  return Status(reply.status().code(),
                reply.status().message() + "; with --tokenizer FOLDER the server is not asked about tokens");
}

Result<int32_t> ServerTokens::vocab_size() {
  FATHOM_ASSIGN_OR_RETURN(const Json info, ask({"GET", "/tokenizer_info"}));
  if (info.is_object() && info.contains("vocab_size") && info["vocab_size"].is_number_integer()) {
    const auto size = info["vocab_size"].get<int64_t>();
    if (size > 0 && size <= INT32_MAX) return static_cast<int32_t>(size);
  }
  return invalid_data("{}: /tokenizer_info has no vocab_size; give --tokenizer FOLDER", client_.url().text());
}

Result<std::string> ServerTokens::decode(std::span<const int32_t> ids) {
  const Json body = {{"model", model_}, {"tokens", std::vector<int32_t>(ids.begin(), ids.end())}};
  FATHOM_ASSIGN_OR_RETURN(const Json reply, ask({"POST", "/detokenize", dump_json(body)}));
  if (reply.is_object() && reply.contains("prompt") && reply["prompt"].is_string())
    return reply["prompt"].get<std::string>();
  return invalid_data("{}: /detokenize has no prompt; give --tokenizer FOLDER", client_.url().text());
}

Result<int64_t> ServerTokens::count(std::string_view text) {
  const Json body = {{"model", model_}, {"prompt", text}, {"add_special_tokens", false}};
  FATHOM_ASSIGN_OR_RETURN(const Json reply, ask({"POST", "/tokenize", dump_json(body)}));
  if (reply.is_object() && reply.contains("tokens") && reply["tokens"].is_array()) {
    return static_cast<int64_t>(reply["tokens"].size());
  }
  return invalid_data("{}: /tokenize has no tokens; give --tokenizer FOLDER", client_.url().text());
}

}  // namespace fathom
