#include "evaluate/pair_encoding.h"

#include <algorithm>

#include "evaluate/plain_text.h"

namespace fathom {
namespace {

Result<int32_t> prefix_token(const Tokenizer& tokenizer) {
  if (tokenizer.bos_id()) return *tokenizer.bos_id();
  if (tokenizer.eos_id()) return *tokenizer.eos_id();
  return invalid_data("the tokenizer has neither BOS nor EOS to begin a text with");
}

MeasuredTokens joined(std::vector<int32_t> context, std::span<const int32_t> continuation) {
  const size_t first = context.size();
  context.insert(context.end(), continuation.begin(), continuation.end());
  return {std::move(context), first};
}

Status truncate_left(MeasuredTokens& tokens, size_t max_tokens) {
  if (tokens.ids.size() <= max_tokens) return ok_status();
  const size_t drop = tokens.ids.size() - max_tokens;
  if (drop >= tokens.first) {
    return invalid_argument("a continuation of {} tokens leaves no room for a prompt in the model's {}",
                            tokens.ids.size() - tokens.first, max_tokens);
  }
  tokens.ids.erase(tokens.ids.begin(), tokens.ids.begin() + static_cast<std::ptrdiff_t>(drop));
  tokens.first -= drop;
  return ok_status();
}

}  // namespace

Result<std::vector<int32_t>> encode_prompt(const Tokenizer& tokenizer, std::string_view prompt) {
  EncodeOptions options;
  if (tokenizer.bos_id() && prompt.starts_with(tokenizer.spelling(*tokenizer.bos_id()))) {
    options.add_bos = AddBos::kNever;
  }
  return tokenizer.encode(prompt, options);
}

Result<MeasuredTokens> encode_pair(const Tokenizer& tokenizer, std::string_view context,
                                   std::string_view continuation, size_t max_tokens) {
  MeasuredTokens tokens;
  if (context.empty()) {
    FATHOM_ASSIGN_OR_RETURN(const int32_t prefix, prefix_token(tokenizer));
    FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                            tokenizer.encode(continuation, {.add_bos = AddBos::kNever}));
    const bool has_prefix = !ids.empty() && ids.front() == prefix;
    tokens = joined({prefix}, std::span(ids).subspan(has_prefix ? 1 : 0));
  } else {
    const std::string_view head = strip_end(context);
    const std::string whole = std::string(context) + std::string(continuation);
    FATHOM_ASSIGN_OR_RETURN(std::vector<int32_t> head_ids, encode_prompt(tokenizer, head));
    FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> whole_ids, encode_prompt(tokenizer, whole));
    tokens = joined(head_ids, std::span(whole_ids).subspan(std::min(head_ids.size(), whole_ids.size())));
    if (head_ids.empty()) return invalid_argument("a prompt of white space has no token to go on from");
  }
  if (tokens.first == tokens.ids.size()) {
    return invalid_argument("the continuation \"{}\" adds no token to its prompt", continuation);
  }
  FATHOM_RETURN_IF_ERROR(truncate_left(tokens, max_tokens));
  return tokens;
}

Result<std::vector<MeasuredTokens>> encode_windows(const Tokenizer& tokenizer, std::string_view text,
                                                   size_t max_tokens) {
  FATHOM_ASSIGN_OR_RETURN(const int32_t prefix, prefix_token(tokenizer));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, encode_prompt(tokenizer, text));
  std::vector<MeasuredTokens> windows;
  for (size_t begin = 0; begin < ids.size(); begin += max_tokens) {
    const size_t end = std::min(begin + max_tokens, ids.size());
    std::vector<int32_t> context = {prefix};
    // The last window may be short: then it sees as much as the others.
    if (begin > 0) context.assign(ids.data() + (end - max_tokens - 1), ids.data() + begin);
    windows.push_back(joined(std::move(context), std::span(ids).subspan(begin, end - begin)));
  }
  return windows;
}

}  // namespace fathom
