// Replies of OpenAI's interface.
#include <algorithm>
#include <ctime>

#include "server/openai.h"
#include "text/utf8.h"

namespace fathom {
namespace {

int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xc0) != 0x80; });
}

std::string_view bytes_of(const Tokenizer* tokenizer, int32_t id) {
  return tokenizer == nullptr ? std::string_view() : tokenizer->token_bytes(id);
}

// A token on its own may be part of a character: then OpenAI writes its bytes.
std::string token_text(std::string_view bytes) {
  if (find_invalid_utf8(bytes) == std::string_view::npos) return std::string(bytes);
  std::string text = "bytes:";
  for (unsigned char byte : bytes) text += fmt::format("\\x{:02x}", byte);
  return text;
}

Json bytes_json(std::string_view bytes) {
  Json list = Json::array();
  for (unsigned char byte : bytes) list.push_back(byte);
  return list;
}

Json chat_token_json(const Tokenizer* tokenizer, int32_t id, double logprob) {
  const std::string_view bytes = bytes_of(tokenizer, id);
  return {{"token", replace_invalid_utf8(bytes)}, {"logprob", logprob}, {"bytes", bytes_json(bytes)}};
}

Json calls_json(const std::vector<CallPiece>& calls, bool with_index) {
  Json list = Json::array();
  for (const CallPiece& call : calls) {
    Json one = Json::object();
    Json function = Json::object();
    if (with_index) one["index"] = call.index;
    if (!call.name.empty()) {
      one["id"] = call.id;
      one["type"] = "function";
      function["name"] = call.name;
    }
    function["arguments"] = call.arguments;
    one["function"] = std::move(function);
    list.push_back(std::move(one));
  }
  return list;
}

double mean_logprob(const ChoicePiece& choice) {
  double sum = 0;
  for (const SampledToken& token : choice.tokens) sum += token.logprob.value_or(0);
  return sum / static_cast<double>(std::max<size_t>(1, choice.tokens.size()));
}

// Of each prompt's candidates those whose tokens are likeliest on average.
std::vector<ChoicePiece> select_best(std::vector<ChoicePiece> choices, const ReplyOptions& options) {
  std::vector<ChoicePiece> best;
  const auto step = static_cast<std::ptrdiff_t>(options.num_candidates);
  for (auto first = choices.begin(); first != choices.end(); first += step) {
    std::stable_sort(first, first + step, [](const ChoicePiece& a, const ChoicePiece& b) {
      return mean_logprob(a) > mean_logprob(b);
    });
    std::move(first, first + options.n, std::back_inserter(best));
  }
  for (size_t i = 0; i < best.size(); ++i) best[i].index = static_cast<int32_t>(i);
  return best;
}

}  // namespace

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

Json chat_logprobs_json(const Tokenizer* tokenizer, const std::vector<SampledToken>& tokens) {
  Json content = Json::array();
  for (const SampledToken& token : tokens) {
    Json entry = chat_token_json(tokenizer, token.id, token.logprob.value_or(0));
    Json top = Json::array();
    for (const TokenLogprob& other : token.top_logprobs) {
      top.push_back(chat_token_json(tokenizer, other.id, other.logprob));
    }
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json text_logprobs_json(const Tokenizer* tokenizer, const std::vector<SampledToken>& tokens,
                        int64_t& offset) {
  Json texts = Json::array(), logprobs = Json::array(), tops = Json::array(), offsets = Json::array();
  for (const SampledToken& token : tokens) {
    const std::string_view bytes = bytes_of(tokenizer, token.id);
    std::string text = token_text(bytes);
    offsets.push_back(offset);
    const bool hidden = tokenizer != nullptr && tokenizer->is_special(token.id);
    if (!hidden) offset += count_characters(bytes);
    logprobs.push_back(token.logprob ? Json(*token.logprob) : Json(nullptr));
    if (token.logprob) {
      Json top = Json::object();
      for (const TokenLogprob& other : token.top_logprobs) {
        // Distinct tokens may be spelled alike: the likeliest counts.
        top.emplace(token_text(bytes_of(tokenizer, other.id)), other.logprob);
      }
      top.emplace(text, *token.logprob);
      tops.push_back(std::move(top));
    } else {
      tops.push_back(nullptr);
    }
    texts.push_back(std::move(text));
  }
  return {{"text_offset", std::move(offsets)},
          {"token_logprobs", std::move(logprobs)},
          {"tokens", std::move(texts)},
          {"top_logprobs", std::move(tops)}};
}

Json prompt_logprobs_json(const Tokenizer* tokenizer, const std::vector<SampledToken>& tokens,
                          const std::vector<int64_t>& ranks) {
  Json list = Json::array();
  for (size_t i = 0; i < tokens.size(); ++i) {
    const SampledToken& token = tokens[i];
    if (!token.logprob) {
      list.push_back(nullptr);
      continue;
    }
    Json entry = Json::object();
    const auto add = [&](int32_t id, double logprob, int64_t rank) {
      entry[std::to_string(id)] = {{"logprob", logprob},
                                   {"rank", rank},
                                   {"decoded_token", replace_invalid_utf8(bytes_of(tokenizer, id))}};
    };
    add(token.id, *token.logprob, ranks.at(i));
    int64_t rank = 0;
    for (const TokenLogprob& other : token.top_logprobs) {
      ++rank;
      if (other.id != token.id) add(other.id, other.logprob, rank);
    }
    list.push_back(std::move(entry));
  }
  return list;
}

ReplyWriter::ReplyWriter(const ReplyOptions& options, std::string request_id, const ServedModel& model)
    : options_(options),
      id_((options.kind == CompletionKind::kChat ? "chatcmpl-" : "cmpl-") + std::move(request_id)),
      model_(&model),
      created_(static_cast<int64_t>(std::time(nullptr))) {
  if (!options.stream) return;
  chunk_head_ = dump_json(frame(true));
  chunk_head_.back() = ',';
  chunk_head_ += "\"choices\":[";
}

Json ReplyWriter::frame(bool is_chunk) const {
  const bool chat = options_.kind == CompletionKind::kChat;
  Json json = {{"id", id_},
               {"object", !chat      ? "text_completion"
                          : is_chunk ? "chat.completion.chunk"
                                     : "chat.completion"},
               {"created", created_},
               {"model", model_->name()}};
  if (!model_->fingerprint().empty()) json["system_fingerprint"] = model_->fingerprint();
  return json;
}

Json ReplyWriter::logprobs(const ChoicePiece& piece) {
  const bool shows_prompt = options_.echo && !piece.prompt_scores.empty();
  if (!options_.logprobs || (piece.tokens.empty() && !shows_prompt)) return nullptr;
  if (options_.kind == CompletionKind::kChat) return chat_logprobs_json(model_->tokenizer(), piece.tokens);
  const auto index = static_cast<size_t>(piece.index);
  if (offsets_.size() <= index) offsets_.resize(index + 1, 0);
  std::vector<SampledToken> tokens;
  if (shows_prompt) tokens = piece.prompt_scores;
  tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
  return text_logprobs_json(model_->tokenizer(), tokens, offsets_[index]);
}

void ReplyWriter::add_end(const ChoicePiece& piece, Json& choice) const {
  const bool called = piece.has_called && piece.finish_reason == FinishReason::kStop;
  choice["finish_reason"] = piece.finish_reason == FinishReason::kNone ? Json(nullptr)
                            : called                                   ? Json("tool_calls")
                                     : Json(finish_reason_name(piece.finish_reason));
  choice["stop_reason"] = piece.stop_reason;
}

void ReplyWriter::add_token_ids(const ChoicePiece& piece, Json& choice) const {
  if (!options_.token_ids) return;
  if (piece.prompt_ids != nullptr) choice["prompt_token_ids"] = *piece.prompt_ids;
  Json ids = Json::array();
  for (const SampledToken& token : piece.tokens) ids.push_back(token.id);
  choice["token_ids"] = std::move(ids);
}

// The members that all chunks have in common are written once: there is a chunk for every token.
std::string ReplyWriter::chunk_of(std::string_view choice, const std::optional<Usage>& usage) const {
  std::string chunk;
  chunk.reserve(chunk_head_.size() + choice.size() + 64);
  chunk.append(chunk_head_).append(choice).append("]");
  if (!timings_.is_null()) chunk += ",\"timings\":" + dump_json(timings_);
  if (usage) {
    chunk += ",\"usage\":" + dump_json(usage_json(*usage));
  } else if (options_.include_usage) {
    chunk += ",\"usage\":null";
  }
  chunk += "}";
  return chunk;
}

std::string ReplyWriter::role_chunk(int32_t index) const {
  const Json choice = {{"index", index},
                       {"delta", {{"role", "assistant"}, {"content", ""}}},
                       {"logprobs", nullptr},
                       {"finish_reason", nullptr}};
  return chunk_of(dump_json(choice), std::nullopt);
}

std::string ReplyWriter::chunk(const ChoicePiece& piece, const std::optional<Usage>& usage) {
  if (is_plain(piece)) return chunk_of(plain_choice(piece), usage);
  Json choice = {{"index", piece.index}};
  if (options_.kind == CompletionKind::kText) {
    choice["text"] = piece.text;
  } else {
    Json delta = Json::object();
    if (!piece.text.empty()) delta["content"] = piece.text;
    if (!piece.calls.empty()) delta["tool_calls"] = calls_json(piece.calls, true);
    choice["delta"] = std::move(delta);
  }
  choice["logprobs"] = logprobs(piece);
  add_end(piece, choice);
  add_token_ids(piece, choice);
  return chunk_of(dump_json(choice), usage);
}

bool ReplyWriter::is_plain(const ChoicePiece& piece) const {
  return !options_.logprobs && !options_.token_ids && !piece.text.empty() && piece.calls.empty() &&
         piece.finish_reason == FinishReason::kNone;
}

// What chunk() makes of a piece that is_plain(), in a fifth of the time.
std::string ReplyWriter::plain_choice(const ChoicePiece& piece) const {
  const bool chat = options_.kind == CompletionKind::kChat;
  std::string choice =
      fmt::format("{{\"index\":{},{}", piece.index, chat ? "\"delta\":{\"content\":" : "\"text\":");
  choice += dump_json(piece.text);
  if (chat) choice += "}";
  return choice += ",\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}";
}

std::string ReplyWriter::usage_chunk(const Usage& usage) const {
  Json chunk = frame(true);
  chunk["choices"] = Json::array();
  chunk["usage"] = usage_json(usage);
  return dump_json(chunk);
}

std::string ReplyWriter::whole(std::vector<ChoicePiece> choices, const Usage& usage) {
  if (options_.selects()) choices = select_best(std::move(choices), options_);
  Json reply = frame(false);
  Json list = Json::array();
  for (const ChoicePiece& piece : choices) {
    Json choice = {{"index", piece.index}};
    if (options_.kind == CompletionKind::kText) {
      choice["text"] = piece.text;
    } else {
      const bool calls_alone = piece.text.empty() && !piece.calls.empty();
      choice["message"] = {{"role", "assistant"},
                           {"content", calls_alone ? Json(nullptr) : Json(piece.text)},
                           {"refusal", nullptr}};
      if (!piece.calls.empty()) choice["message"]["tool_calls"] = calls_json(piece.calls, false);
    }
    choice["logprobs"] = logprobs(piece);
    add_end(piece, choice);
    if (options_.prompt_scores && options_.kind == CompletionKind::kText) {
      choice["prompt_logprobs"] =
          prompt_logprobs_json(model_->tokenizer(), piece.prompt_scores, piece.prompt_ranks);
    }
    add_token_ids(piece, choice);
    list.push_back(std::move(choice));
  }
  reply["choices"] = std::move(list);
  if (options_.prompt_scores && options_.kind == CompletionKind::kChat) {
    reply["prompt_logprobs"] = prompt_logprobs_json(model_->tokenizer(), choices.front().prompt_scores,
                                                    choices.front().prompt_ranks);
  }
  reply["usage"] = usage_json(usage);
  if (!timings_.is_null()) reply["timings"] = timings_;
  return dump_json(reply);
}

}  // namespace fathom
