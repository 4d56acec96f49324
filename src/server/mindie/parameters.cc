#include "server/mindie/parameters.h"

#include <algorithm>

#include "server/openai.h"

namespace fathom::mindie {
namespace {

constexpr int32_t kLeastUrgent = 5;  // of priorities 1 to 5; what requests have that do not say
constexpr double kMaxTimeout = 65535;

// As in TGI: greedy, unless told to sample or how to.
void settle_sampling(RequestFields& fields, SamplingParams& sampling) {
  bool says_how = false;
  for (const char* key : {"temperature", "top_k", "top_p", "min_p", "seed"}) {
    says_how |= fields.value(key) != nullptr;
  }
  if (!fields.boolean("do_sample").value_or(says_how)) sampling.temperature = 0;
}

}  // namespace

void read_parameters(RequestFields& body, const ServedModel& model, Prepared& prepared,
                     const std::function<void(RequestFields&)>& own) {
  static const Json kNone = Json::object();
  const Json* given = body.value("parameters");
  if (given != nullptr && !given->is_object()) return body.fail("parameters", "must be an object");
  RequestFields fields(given != nullptr ? *given : kNone, "parameters.");
  GenerationRequest& generation = prepared.generation;
  generation.sampling = read_sampling(fields, model);
  settle_sampling(fields, generation.sampling);
  generation.sampling.max_tokens = fields.integer("max_new_tokens", 1, INT32_MAX).value_or(kDefaultNewTokens);
  generation.priority =
      static_cast<int32_t>(fields.integer("priority", 1, kLeastUrgent).value_or(kLeastUrgent)) - kLeastUrgent;
  generation.timeout = fields.number("timeout", 0.001, kMaxTimeout);
  fields.only("typical_p", 1.0);
  fields.only("watermark", false);
  fields.only("adapter_id", "None");
  for (const char* key : {"batch_size", "perf_stat"}) fields.ignore(key);
  own(fields);
  body.take_error(fields);
  prepared.unknown = fields.unknown();
}

std::optional<ApiError> read_prompt_text(const Json& body, const char* key, const Context& context,
                                         GenerationRequest& generation) {
  const auto text = body.find(key);
  const bool is_text =
      text != body.end() && text->is_string() && !text->get_ref<const std::string&>().empty();
  if (!is_text) return bad_request(key, fmt::format("{} must be a text of at least one character", key));
  ServedModel::Ids ids = context.model.encode(text->get_ref<const std::string&>(), {});
  if (const auto* error = std::get_if<ApiError>(&ids)) return *error;
  if (std::get<std::vector<int32_t>>(ids).empty())
    return bad_request(key, fmt::format("{} holds no token", key));
  generation.prompts.push_back(std::get<std::vector<int32_t>>(std::move(ids)));
  return std::nullopt;
}

std::optional<ApiError> settle(const Context& context, GenerationRequest& generation) {
  const auto prompt_tokens = static_cast<int64_t>(generation.prompts.front().size());
  const int64_t room = context.model.max_model_len() - prompt_tokens;
  if (room < 1) return context_exceeded(prompt_tokens, 0, context.model.max_model_len());
  const int64_t limit = context.limits.max_output_tokens;
  SamplingParams& sampling = generation.sampling;
  sampling.max_tokens = std::min({*sampling.max_tokens, room, limit > 0 ? limit : room});
  sampling.min_tokens = std::min(sampling.min_tokens, *sampling.max_tokens);
  const Status status = sampling.validate();
  return status.ok() ? std::nullopt : std::optional(api_error_of(status, ""));
}

}  // namespace fathom::mindie
