#include "sample/sampling_params.h"

#include <algorithm>

namespace fathom {
namespace {

// Written so that NaN fails.
Status check_range(const char* field, double value, double low, double high) {
  if (!(low <= value && value <= high))
    return invalid_argument("{} must be from {} to {}, is {}", field, low, high, value);
  return ok_status();
}

Status check_logit_bias(const std::vector<LogitBias>& biases) {
  if (biases.size() > kMaxLogitBiases)
    return invalid_argument("logit_bias must be at most {} tokens, is {}", kMaxLogitBiases, biases.size());
  std::vector<int32_t> ids;
  for (const LogitBias& entry : biases) {
    if (entry.token_id < 0)
      return invalid_argument("logit_bias: a token id must be at least 0, one is {}", entry.token_id);
    FATHOM_RETURN_IF_ERROR(
        check_range("logit_bias", entry.bias, -kMaxAbsoluteLogitBias, kMaxAbsoluteLogitBias));
    ids.push_back(entry.token_id);
  }
  std::sort(ids.begin(), ids.end());
  const auto twice = std::adjacent_find(ids.begin(), ids.end());
  if (twice != ids.end()) return invalid_argument("logit_bias: token id {} occurs twice", *twice);
  return ok_status();
}

}  // namespace

Status SamplingParams::validate() const {
  FATHOM_RETURN_IF_ERROR(check_range("temperature", temperature, 0, kMaxTemperature));
  FATHOM_RETURN_IF_ERROR(check_range("top_p", top_p, 0, 1));
  FATHOM_RETURN_IF_ERROR(check_range("min_p", min_p, 0, 1));
  FATHOM_RETURN_IF_ERROR(
      check_range("repetition_penalty", repetition_penalty, kMinRepetitionPenalty, kMaxRepetitionPenalty));
  FATHOM_RETURN_IF_ERROR(
      check_range("presence_penalty", presence_penalty, -kMaxAbsolutePenalty, kMaxAbsolutePenalty));
  FATHOM_RETURN_IF_ERROR(
      check_range("frequency_penalty", frequency_penalty, -kMaxAbsolutePenalty, kMaxAbsolutePenalty));
  FATHOM_RETURN_IF_ERROR(check_logit_bias(logit_bias));
  if (top_k < -1) return invalid_argument("top_k must be at least -1, is {}", top_k);
  if (max_tokens && *max_tokens < 1)
    return invalid_argument("max_tokens must be at least 1, is {}", *max_tokens);
  if (min_tokens < 0) return invalid_argument("min_tokens must be at least 0, is {}", min_tokens);
  if (logprobs && !(0 <= *logprobs && *logprobs <= kMaxLogprobs))
    return invalid_argument("logprobs must be from 0 to {}, is {}", kMaxLogprobs, *logprobs);
  if (stop_token_ids.size() > kMaxStopTokenIds)
    return invalid_argument("stop_token_ids must be at most {}, are {}", kMaxStopTokenIds,
                            stop_token_ids.size());
  for (int32_t id : stop_token_ids) {
    if (id < 0) return invalid_argument("stop_token_ids must be at least 0, one is {}", id);
  }
  if (stop_strings.size() > kMaxStopStrings)
    return invalid_argument("stop must be at most {} strings, is {}", kMaxStopStrings, stop_strings.size());
  for (const std::string& text : stop_strings) {
    if (text.empty() || text.size() > kMaxStopStringBytes)
      return invalid_argument("a stop string must have from 1 to {} bytes, one has {}", kMaxStopStringBytes,
                              text.size());
  }
  return ok_status();
}

}  // namespace fathom
