// How text becomes the tokens that a log-likelihood is measured on: the conventions of lm-evaluation-harness
// 0.4 for causal models. BOS comes first where the model's tokenizer puts it, once.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/tokenizer.h"

namespace fathom {

// Tokens ids[first, end) are measured, given all before them. 1 <= first < size.
struct MeasuredTokens {
  std::vector<int32_t> ids;
  size_t first = 0;
};

// A prompt that begins with BOS written out gets no second one.
Result<std::vector<int32_t>> encode_prompt(const Tokenizer& tokenizer, std::string_view prompt);

// The continuation's tokens are those that context and continuation together have more than the context;
// white space at the context's end counts as the continuation's. An empty context is BOS, or EOS where there
// is none. Longer than max_tokens: tokens at the left are dropped; a continuation that leaves no room for one
// token of context is an error.
Result<MeasuredTokens> encode_pair(const Tokenizer& tokenizer, std::string_view context,
                                   std::string_view continuation, size_t max_tokens);

// A whole text in windows of max_tokens measured tokens, each token measured once: the first follows BOS, the
// others the token before them; the last, where it is short, as many more as make it as long. The tokens
// include the BOS that the tokenizer puts first, so that BOS itself is measured, once, as the harness does.
Result<std::vector<MeasuredTokens>> encode_windows(const Tokenizer& tokenizer, std::string_view text,
                                                   size_t max_tokens);

}  // namespace fathom
