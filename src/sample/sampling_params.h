// What a request says about choosing its tokens, with the ranges that users of OpenAI's interface and of vLLM
// expect. Plain data: parsed once at the edge, validated once, then constant.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom {

inline constexpr double kMaxTemperature = 2.0;
// Below it a penalised logit could leave the range of float.
inline constexpr double kMinRepetitionPenalty = 0.01;
inline constexpr double kMaxRepetitionPenalty = 2.0;
inline constexpr double kMaxAbsolutePenalty = 2.0;
inline constexpr int32_t kMaxLogprobs = 20;
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopStringBytes = 256;
inline constexpr size_t kMaxStopTokenIds = 1024;
inline constexpr size_t kMaxLogitBiases = 1024;
inline constexpr double kMaxAbsoluteLogitBias = 100.0;

// Added to the logit of one token.
struct LogitBias {
  int32_t token_id = 0;
  double bias = 0;  // [-100, 100]
  bool operator==(const LogitBias&) const = default;
};

struct SamplingParams {
  double temperature = 1.0;               // [0, 2]; 0 is greedy: the most likely token after penalties
  int32_t top_k = 0;                      // keep the k most likely; 0 and -1 keep all
  double top_p = 1.0;                     // [0, 1]: keep the fewest that reach this share; at least one
  double min_p = 0.0;                     // [0, 1]: drop what is less likely than this times the most likely
  double repetition_penalty = 1.0;        // [0.01, 2], over prompt and generated tokens; 1 is none
  double presence_penalty = 0.0;          // [-2, 2], over generated tokens
  double frequency_penalty = 0.0;         // [-2, 2], over generated tokens, times their count
  std::vector<LogitBias> logit_bias;      // at most 1024, no token twice, none negative; after the penalties
  std::optional<uint64_t> seed;           // without one: 0
  std::optional<int64_t> max_tokens;      // >= 1; without one up to the end of the context
  int64_t min_tokens = 0;                 // >= 0: so long no end token and no stop token is drawn
  bool ignore_eos = false;                // the model's own end tokens do not stop; stop_token_ids still do
  std::vector<int32_t> stop_token_ids;    // at most 1024, none negative
  std::vector<std::string> stop_strings;  // at most 16 of 1 to 256 bytes
  bool show_stop_string = false;          // the stop string that ends the text is part of it
  bool show_special_tokens = false;       // special tokens are part of the text
  // Absent: no log-probabilities. 0: of the chosen token. n up to 20: also of the n most likely.
  std::optional<int32_t> logprobs;

  bool is_greedy() const { return temperature == 0; }
  bool has_penalties() const {
    return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0;
  }

  // kInvalidArgument names the field, the limit and the value. A NaN is outside every range.
  Status validate() const;
};

}  // namespace fathom
