// Requests of OpenAI's interface: fields, ranges, defaults.
#include <random>

#include "server/chat/chat_prompt.h"
#include "server/openai.h"
#include "server/request_fields.h"

namespace fathom {
namespace {

constexpr size_t kNoLimit = SIZE_MAX;  // of what the body's own limit bounds
constexpr int64_t kDefaultTextTokens = 16;

struct Context {
  const ServedModel& model;
  const ServerLimits& limits;
};

// How many tokens of an answer a request asks for, and what counts where it does not say; nothing: as many as
// fit.
struct AnswerLength {
  std::optional<int64_t> wanted = {};
  std::optional<int64_t> fallback = {};
};

// Clients of llama.cpp say -1 for what fits.
AnswerLength read_length(RequestFields& fields, const char* key, std::optional<int64_t> fallback) {
  constexpr int64_t kWhatFits = -1;
  const auto given = fields.integer(key, kWhatFits, INT64_MAX);
  if (given == kWhatFits) return {};
  return {.wanted = given, .fallback = given ? given : fallback};
}

uint64_t random_seed() {
  static thread_local std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

void read_logit_bias(RequestFields& fields, int32_t vocab_size, SamplingParams& sampling) {
  const Json* bias = fields.value("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object()) return fields.fail("logit_bias", "must be an object of token ids and numbers");
  if (bias->size() > kMaxLogitBiases) {
    return fields.fail("logit_bias",
                       fmt::format("must have at most {} tokens, has {}", kMaxLogitBiases, bias->size()));
  }
  for (const auto& [key, value] : bias->items()) {
    const bool is_id =
        !key.empty() && key.size() <= 9 && key.find_first_not_of("0123456789") == std::string::npos;
    const int32_t id = is_id ? std::stoi(key) : -1;
    if (id < 0 || id >= vocab_size) {
      return fields.fail("logit_bias", fmt::format("must hold token ids from 0 to {}", vocab_size - 1));
    }
    const double number = value.is_number() ? value.get<double>() : kMaxAbsoluteLogitBias + 1;
    if (!(-kMaxAbsoluteLogitBias <= number && number <= kMaxAbsoluteLogitBias)) {
      return fields.fail("logit_bias", fmt::format("must hold numbers from {} to {}", -kMaxAbsoluteLogitBias,
                                                   kMaxAbsoluteLogitBias));
    }
    sampling.logit_bias.push_back({id, number});
  }
}

}  // namespace

SamplingParams read_sampling(RequestFields& fields, const ServedModel& model) {
  SamplingParams sampling = model.default_sampling();
  const auto number = [&fields](const char* key, double low, double high, double& value) {
    if (const auto given = fields.number(key, low, high)) value = *given;
  };
  const auto flag = [&fields](const char* key, bool& value) {
    if (const auto given = fields.boolean(key)) value = *given;
  };
  number("temperature", 0, kMaxTemperature, sampling.temperature);
  number("top_p", 0, 1, sampling.top_p);
  number("min_p", 0, 1, sampling.min_p);
  number("repetition_penalty", kMinRepetitionPenalty, kMaxRepetitionPenalty, sampling.repetition_penalty);
  number("presence_penalty", -kMaxAbsolutePenalty, kMaxAbsolutePenalty, sampling.presence_penalty);
  number("frequency_penalty", -kMaxAbsolutePenalty, kMaxAbsolutePenalty, sampling.frequency_penalty);
  if (const auto top_k = fields.integer("top_k", -1, INT32_MAX))
    sampling.top_k = static_cast<int32_t>(*top_k);
  const auto seed = fields.seed("seed");
  sampling.seed = seed ? *seed : random_seed();
  if (const auto least = fields.integer("min_tokens", 0, model.max_model_len())) sampling.min_tokens = *least;
  flag("ignore_eos", sampling.ignore_eos);
  flag("include_stop_str_in_output", sampling.show_stop_string);
  if (const auto skip = fields.boolean("skip_special_tokens")) sampling.show_special_tokens = !*skip;
  sampling.stop_strings = fields.text_or_list("stop", kMaxStopStrings, kMaxStopStringBytes);
  std::erase(sampling.stop_strings, std::string());  // some clients send "" for none
  sampling.stop_token_ids = fields.token_ids("stop_token_ids", model.vocab_size(), kMaxStopTokenIds);
  read_logit_bias(fields, model.vocab_size(), sampling);
  return sampling;
}

namespace {

// What other servers offer and this one does not (yet): refused rather than silently left out.
void refuse_unsupported(RequestFields& fields) {
  fields.only("functions", Json::array());
  for (const char* key : {"use_beam_search", "watermark"}) fields.only(key, false);
  for (const char* key : {"structural_tag", "guided_decoding_backend", "chat_template", "logits_processors",
                          "audio", "documents"}) {
    fields.only(key, nullptr);
  }
  fields.only("typical_p", 1.0);
  for (const char* key : {"mirostat", "dry_multiplier", "xtc_probability"}) fields.only(key, 0);
  fields.only("suffix", "");
  fields.only("modalities", Json::array({"text"}));
}

// n, logprobs, stream and what else both kinds have.
void read_common(RequestFields& fields, const Context& context, CompletionRequest& request) {
  fields.text("model", kNoLimit);  // its name is checked before all else
  GenerationRequest& generation = request.generation;
  generation.n = static_cast<int32_t>(fields.integer("n", 1, context.limits.max_choices).value_or(1));
  request.reply.n = request.reply.num_candidates = generation.n;
  generation.sampling = read_sampling(fields, context.model);
  generation.priority = static_cast<int32_t>(fields.integer("priority", INT32_MIN, INT32_MAX).value_or(0));
  generation.cache_salt = fields.text("cache_salt", 1024).value_or("");
  ReplyOptions& reply = request.reply;
  reply.stream = fields.boolean("stream").value_or(false);
  reply.token_ids = fields.boolean("return_token_ids").value_or(false);
  if (const Json* options = fields.value("stream_options")) {
    if (!options->is_object()) {
      fields.fail("stream_options", "must be an object");
    } else if (!reply.stream) {
      fields.fail("stream_options", "is for streams only (stream: true)");
    } else {
      RequestFields inner(*options, "stream_options.");
      reply.include_usage = inner.boolean("include_usage").value_or(false);
      reply.continuous_usage = inner.boolean("continuous_usage_stats").value_or(false);
      fields.take_error(inner);
    }
  }
  reply.timings = fields.boolean("timings_per_token").value_or(false);
  if (const auto scores = fields.integer("prompt_logprobs", 0, kMaxLogprobs)) {
    reply.prompt_scores = true;
    generation.prompt_logprobs = static_cast<int32_t>(*scores);
    if (reply.stream) fields.fail("prompt_logprobs", "is not for streams");
  }
  request.constraint = read_constraint(fields);
  refuse_unsupported(fields);
  for (const char* key :
       {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "request_id"}) {
    fields.ignore(key);
  }
}

// What the context leaves, where the request does not say; 400 where prompt and answer do not fit.
std::optional<ApiError> settle_max_tokens(const Context& context, const AnswerLength& length,
                                          GenerationRequest& generation) {
  std::optional<int64_t> wanted = length.wanted;
  int64_t longest = 0;
  for (const auto& prompt : generation.prompts)
    longest = std::max<int64_t>(longest, static_cast<int64_t>(prompt.size()));
  const int64_t room = context.model.max_model_len() - longest;
  const int64_t least = generation.generates ? 1 : 0;
  const int64_t limit = context.limits.max_output_tokens;
  const int64_t most = limit > 0 ? limit : room;
  if (wanted && limit > 0) wanted = std::min(*wanted, most);
  if (room < least) return context_exceeded(longest, wanted.value_or(0), context.model.max_model_len());
  if (wanted && *wanted > room) return context_exceeded(longest, *wanted, context.model.max_model_len());
  generation.sampling.max_tokens =
      std::max<int64_t>(1, wanted.value_or(std::min({room, most, length.fallback.value_or(room)})));
  if (generation.sampling.min_tokens > *generation.sampling.max_tokens) {
    return bad_request("min_tokens",
                       fmt::format("min_tokens must be at most max_tokens {}, is {}",
                                   *generation.sampling.max_tokens, generation.sampling.min_tokens));
  }
  return std::nullopt;
}

// A reply that is made whole holds the log-probabilities of all its tokens and their alternatives at once,
// and so does the piece of a stream that shows a prompt's.
std::optional<ApiError> settle_logprobs(const Context& context, const AnswerLength& length,
                                        CompletionRequest& request) {
  GenerationRequest& generation = request.generation;
  int64_t of_prompts = 0, per_token = 0;
  if (generation.prompt_logprobs) {
    for (const auto& prompt : generation.prompts) of_prompts += static_cast<int64_t>(prompt.size());
    of_prompts *= generation.n * (int64_t{*generation.prompt_logprobs} + 1);
  }
  if (request.reply.logprobs && !request.reply.stream && generation.generates)
    per_token = generation.num_sequences() * (int64_t{*generation.sampling.logprobs} + 1);
  const int64_t most = context.limits.max_reply_logprobs;
  int64_t& max_tokens = *generation.sampling.max_tokens;
  // Where the request does not say how long, an answer that fits means this too.
  if (!length.wanted && per_token > 0)
    max_tokens = std::clamp<int64_t>((most - of_prompts) / per_token, 1, max_tokens);
  const int64_t total = of_prompts + per_token * max_tokens;
  if (total <= most) return std::nullopt;
  const char* param = request.reply.prompt_scores ? "prompt_logprobs" : "logprobs";
  return bad_request(param,
                     fmt::format("{}: the reply could hold {} log-probabilities, counting alternatives "
                                 "and choices; {} are the limit",
                                 param, total, most));
}

// Of each prompt the last tokens only, where the request says how many; -1: as many as leave room for the
// answer.
std::optional<ApiError> truncate_prompts(RequestFields& fields, const Context& context,
                                         const AnswerLength& length, CompletionRequest& request) {
  const auto wanted = fields.integer("truncate_prompt_tokens", -1, context.model.max_model_len());
  if (wanted == 0) fields.fail("truncate_prompt_tokens", "must be -1 or at least 1");
  if (fields.error()) return fields.error();
  if (!wanted) return std::nullopt;
  const int64_t room = context.model.max_model_len() - std::max<int64_t>(1, length.fallback.value_or(1));
  const auto most = static_cast<size_t>(std::max<int64_t>(1, *wanted < 0 ? room : *wanted));
  for (size_t i = 0; i < request.generation.prompts.size(); ++i) {
    std::vector<int32_t>& ids = request.generation.prompts[i];
    if (ids.size() <= most) continue;
    ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(most));
    if (request.reply.echo && context.model.tokenizer() != nullptr)
      request.echoed[i] = context.model.tokenizer()->decode(ids, SpecialInOutput::kSkip);
  }
  return std::nullopt;
}

std::optional<ApiError> finish_request(RequestFields& fields, const Context& context,
                                       const AnswerLength& length, CompletionRequest& request) {
  if (auto error = truncate_prompts(fields, context, length, request)) return error;
  request.unknown = fields.unknown();
  if (auto error = settle_max_tokens(context, length, request.generation)) return error;
  if (auto error = settle_logprobs(context, length, request)) return error;
  const Status status = request.generation.sampling.validate();
  if (!status.ok()) return api_error_of(status, "");
  return std::nullopt;
}

// An answer that may call is held to its form where it does not begin with a call.
void constrain_unless_called(RequestFields& fields, CompletionRequest& request) {
  if (!request.constraint) return;
  if (request.tools.syntax != CallSyntax::kTags) {
    return fields.fail(
        request.constraint->param,
        "cannot be together with tools of this model, whose calls begin with a special token, but "
        "where tool_choice is none");
  }
  request.constraint->spec.or_begins_with = syntax_of(request.tools.syntax).open;
}

// An answer that has to call is held to its form by a constraint of its own.
void constrain_calls(RequestFields& fields, CompletionRequest& request) {
  if (fields.error() || request.tools.choice == ToolUse::Choice::kNone) return;
  if (request.tools.choice == ToolUse::Choice::kAuto) return constrain_unless_called(fields, request);
  // Nothing is written but calls, whose form is theirs: a format of the content says nothing about them.
  if (request.constraint && request.constraint->param != "response_format")
    return fields.fail(request.constraint->param, "cannot be together with a tool_choice that forces a call");
  const Result<Json> schema = forced_calls_schema(request.tools);
  if (!schema.ok()) return fields.fail("tools", schema.status().message());
  request.constraint =
      RequestedConstraint{{ConstraintSpec::Kind::kJsonSchema, dump_json(*schema), {}}, "tools"};
}

std::variant<CompletionRequest, ApiError> parse_chat(const Json& body, const Context& context) {
  RequestFields fields(body);
  CompletionRequest request;
  request.reply.kind = CompletionKind::kChat;
  read_common(fields, context, request);
  const bool is_newer = fields.value("max_completion_tokens") != nullptr;
  const AnswerLength older = read_length(fields, "max_tokens", std::nullopt);
  const AnswerLength length = is_newer ? read_length(fields, "max_completion_tokens", std::nullopt) : older;
  if (length.wanted == 0)
    fields.fail(is_newer ? "max_completion_tokens" : "max_tokens", "must be at least 1, or -1 for what fits");
  request.reply.logprobs = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, kMaxLogprobs);
  if (top && *top > 0 && !request.reply.logprobs) fields.fail("top_logprobs", "needs logprobs: true");
  if (request.reply.logprobs) request.generation.sampling.logprobs = static_cast<int32_t>(top.value_or(0));
  fields.only("echo", false);
  fields.only("best_of", request.reply.n);
  request.tools = read_tool_use(fields, context.model.tool_format());
  constrain_calls(fields, request);
  auto rendered = render_chat(body, fields, request.tools, context.model);
  if (const auto* error = std::get_if<ApiError>(&rendered)) return *error;
  std::vector<int32_t>& ids = std::get<ServedModel::Rendered>(rendered).ids;
  if (ids.empty()) return bad_request("messages", "the chat template makes an empty prompt of the messages");
  request.generation.prompts.push_back(std::move(ids));
  if (auto error = finish_request(fields, context, length, request)) return *error;
  return request;
}

// Of so many answers to each prompt, the n likeliest are shown.
void read_best_of(RequestFields& fields, const Context& context, CompletionRequest& request) {
  const auto best_of = fields.integer("best_of", 1, context.limits.max_choices);
  if (!best_of || *best_of == request.reply.n) return;
  if (*best_of < request.reply.n) {
    return fields.fail("best_of", fmt::format("must be at least n, {}, is {}", request.reply.n, *best_of));
  }
  if (request.reply.stream) return fields.fail("best_of", "must be n in streams");
  request.generation.n = request.reply.num_candidates = static_cast<int32_t>(*best_of);
  if (!request.generation.sampling.logprobs) request.generation.sampling.logprobs = 0;
}

bool is_token_list(const Json& value) { return value.is_array() && !value.empty() && value[0].is_number(); }

// One prompt: a string, or a list of token ids.
std::optional<ApiError> add_prompt(const Json& value, const Context& context,
                                   const EncodeOptions& encode_options, CompletionRequest& request) {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    ServedModel::Ids ids = context.model.encode(text, encode_options);
    if (const auto* error = std::get_if<ApiError>(&ids)) return *error;
    request.generation.prompts.push_back(std::get<std::vector<int32_t>>(std::move(ids)));
    request.echoed.push_back(text);
  } else if (is_token_list(value)) {
    const Json holder = Json{{"prompt", value}};
    RequestFields fields(holder);
    request.generation.prompts.push_back(fields.token_ids("prompt", context.model.vocab_size(), kNoLimit));
    if (fields.error()) return fields.error();
    const Tokenizer* tokenizer = context.model.tokenizer();
    request.echoed.push_back(
        tokenizer == nullptr || !request.reply.echo
            ? std::string()
            : tokenizer->decode(request.generation.prompts.back(), SpecialInOutput::kSkip));
  } else {
    return bad_request("prompt", "prompt must be a string, a list of token ids, or a list of either");
  }
  if (request.generation.prompts.back().empty()) return bad_request("prompt", "prompt must not be empty");
  return std::nullopt;
}

std::optional<ApiError> add_prompts(const Json& body, const Context& context,
                                    const EncodeOptions& encode_options, CompletionRequest& request) {
  const auto found = body.find("prompt");
  if (found == body.end() || found->is_null()) return bad_request("prompt", "prompt is missing");
  if (!found->is_array() || is_token_list(*found))
    return add_prompt(*found, context, encode_options, request);
  if (found->empty()) return bad_request("prompt", "prompt must not be empty");
  if (found->size() > context.limits.max_prompts) {
    return bad_request("prompt", fmt::format("prompt must be at most {} prompts, is {}",
                                             context.limits.max_prompts, found->size()));
  }
  for (const Json& entry : *found) {
    if (auto error = add_prompt(entry, context, encode_options, request)) return error;
  }
  return std::nullopt;
}

std::variant<CompletionRequest, ApiError> parse_text(const Json& body, const Context& context) {
  RequestFields fields(body);
  CompletionRequest request;
  request.reply.kind = CompletionKind::kText;
  read_common(fields, context, request);
  fields.only("tools", Json::array());
  const AnswerLength length = read_length(fields, "max_tokens", kDefaultTextTokens);
  request.reply.echo = fields.boolean("echo").value_or(false);
  if (const auto logprobs = fields.integer("logprobs", 0, kMaxLogprobs)) {
    request.reply.logprobs = true;
    request.generation.sampling.logprobs = static_cast<int32_t>(*logprobs);
  }
  read_best_of(fields, context, request);
  if (length.wanted == 0 && !request.reply.echo) fields.fail("max_tokens", "must be at least 1 without echo");
  EncodeOptions encode_options;
  if (!fields.boolean("add_special_tokens").value_or(true)) encode_options.add_bos = AddBos::kNever;
  fields.ignore("prompt");
  if (fields.error()) return *fields.error();

  if (auto error = add_prompts(body, context, encode_options, request)) return *error;
  request.generation.generates = length.wanted != 0;
  if (request.reply.echo && request.reply.logprobs) {
    auto& wanted = request.generation.prompt_logprobs;
    const int32_t echoed = *request.generation.sampling.logprobs;
    if (wanted && *wanted != echoed) {
      return bad_request("prompt_logprobs", "prompt_logprobs must be equal to logprobs beside echo");
    }
    wanted = echoed;
  }
  if (auto error = finish_request(fields, context, length, request)) return *error;
  return request;
}

}  // namespace

std::variant<CompletionRequest, ApiError> parse_completion(CompletionKind kind, const Json& body,
                                                           const ServedModel& model,
                                                           const ServerLimits& limits) {
  const Context context{model, limits};
  if (!body.is_object()) return bad_request("", "the body must be a JSON object");
  if (const auto name = body.find("model"); name != body.end() && name->is_string()) {
    if (auto error = model.check_name(name->get<std::string>())) return *error;
  }
  return kind == CompletionKind::kChat ? parse_chat(body, context) : parse_text(body, context);
}

}  // namespace fathom
