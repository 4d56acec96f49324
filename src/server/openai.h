// OpenAI's interface as typed data: what requests mean and how replies look. Pure functions, any thread; the
// conversation with the engine is in completion_exchange.h. Beside OpenAI's fields it takes those of vLLM.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/answer_record.h"
#include "server/api_error.h"
#include "server/chat/tool_use.h"
#include "server/generation.h"
#include "server/limits.h"
#include "server/openai/constraint_fields.h"
#include "server/served_model.h"

namespace fathom {

class RequestFields;

enum class CompletionKind { kChat, kText };

// What a request asks of its reply.
struct ReplyOptions {
  CompletionKind kind = CompletionKind::kChat;
  bool stream = false;
  bool include_usage = false;     // a last chunk of usage
  bool continuous_usage = false;  // usage in every chunk
  bool logprobs = false;
  bool echo = false;           // text completions: the prompt stands before its answer
  bool token_ids = false;      // return_token_ids
  bool prompt_scores = false;  // prompt_logprobs
  bool timings = false;        // timings_per_token
  // best_of: of so many answers to each prompt only the likeliest n are shown. Not in streams.
  int32_t num_candidates = 1;
  int32_t n = 1;

  bool selects() const { return num_candidates > n; }
  bool keeps_tokens() const { return logprobs || token_ids || selects(); }
};

struct CompletionRequest {
  GenerationRequest generation;
  ReplyOptions reply;
  ToolUse tools;                                  // chats
  std::optional<RequestedConstraint> constraint;  // not yet compiled
  std::vector<std::string> echoed;                // [prompts], the texts where reply.echo
  std::vector<std::string> unknown;               // fields without a meaning here
};

// A request's body, checked and turned into tokens. Errors name the field.
std::variant<CompletionRequest, ApiError> parse_completion(CompletionKind kind, const Json& body,
                                                           const ServedModel& model,
                                                           const ServerLimits& limits);

// The fields that say how tokens are chosen and where an answer stops, but for its length; left-out ones are
// the model's defaults, a seed is drawn.
SamplingParams read_sampling(RequestFields& fields, const ServedModel& model);

// messages with what counts only: roles, contents (parts of type text joined), names, tool_calls (arguments a
// string, as OpenAI has it) and tool_call_id.
std::variant<Json, ApiError> parse_messages(const Json& body);
// chat_template_kwargs: an object of plain values, or null.
std::variant<Json, ApiError> parse_template_variables(const Json& body);

Json usage_json(const Usage& usage);

// Log-probabilities of consecutive tokens of an answer, in either of OpenAI's forms.
Json chat_logprobs_json(const Tokenizer* tokenizer, const std::vector<SampledToken>& tokens);
// offset: characters of the text before the first token, moved on behind the last.
Json text_logprobs_json(const Tokenizer* tokenizer, const std::vector<SampledToken>& tokens, int64_t& offset);

// vLLM's prompt_logprobs: null for the first token, then an object of the token's and the likeliest ids.
// ranks: [tokens].
Json prompt_logprobs_json(const Tokenizer* tokenizer, const std::vector<SampledToken>& tokens,
                          const std::vector<int64_t>& ranks);

// A piece of a call, or all of it.
struct CallPiece {
  int32_t index = 0;
  std::string id = {}, name = {};  // where the call begins
  std::string arguments = {};
};

// A piece of one choice, or all of it.
struct ChoicePiece {
  int32_t index = 0;
  std::string text = {};
  std::vector<SampledToken> prompt_scores = {};  // of the echoed prompt, before the tokens
  std::vector<int64_t> prompt_ranks = {};        // [prompt_scores]
  std::vector<SampledToken> tokens = {};
  const std::vector<int32_t>* prompt_ids = nullptr;  // of the choice's prompt, where they are to be shown
  FinishReason finish_reason = FinishReason::kNone;
  std::vector<CallPiece> calls = {};
  bool has_called = false;     // this piece or an earlier one
  Json stop_reason = nullptr;  // the stop string or stop token that ended it
};

// Writes the JSON of one request's reply.
class ReplyWriter {
 public:
  ReplyWriter(const ReplyOptions& options, std::string request_id, const ServedModel& model);

  // Streams: the first chunk of a chat's choice, a chunk, and the last with the usage alone.
  std::string role_chunk(int32_t index) const;
  std::string chunk(const ChoicePiece& piece, const std::optional<Usage>& usage);
  std::string usage_chunk(const Usage& usage) const;

  // choices: [prompts][candidates].
  std::string whole(std::vector<ChoicePiece> choices, const Usage& usage);
  // Of whole replies, in seconds since 1970: where the answer begins later than this was made.
  void set_created(int64_t time) { created_ = time; }
  // Shown in every chunk or reply from now on; null: not.
  void set_timings(Json timings) { timings_ = std::move(timings); }

 private:
  Json frame(bool is_chunk) const;
  Json logprobs(const ChoicePiece& piece);
  void add_end(const ChoicePiece& piece, Json& choice) const;
  void add_token_ids(const ChoicePiece& piece, Json& choice) const;
  // With text and nothing else to say, as most pieces are.
  bool is_plain(const ChoicePiece& piece) const;
  std::string plain_choice(const ChoicePiece& piece) const;
  std::string chunk_of(std::string_view choice, const std::optional<Usage>& usage) const;

  ReplyOptions options_;
  std::string id_;
  const ServedModel* model_;
  int64_t created_;
  std::string chunk_head_;        // of a stream's chunks, up to the first choice
  std::vector<int64_t> offsets_;  // [choices], of text_logprobs_json
  Json timings_;
};

}  // namespace fathom
