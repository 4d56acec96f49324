#include "evaluate/text_windows.h"

#include <algorithm>

#include "base/check.h"

namespace fathom {

TextWindows::TextWindows(std::unique_ptr<Tokenizer> tokenizer, std::vector<TokenText> texts, int64_t context,
                         std::optional<int64_t> limit)
    : tokenizer_(std::move(tokenizer)), texts_(std::move(texts)), context_(context) {
  FATHOM_CHECK(context >= 2 && (!limit || *limit >= 1), "context {}, limit {}", context, limit.value_or(0));
  const auto step = static_cast<size_t>(context - 1);
  int64_t first = 0;
  for (size_t text = 0; text < texts_.size(); ++text) {
    size_t end = texts_[text].ids.size();
    if (limit) end = std::min(end, static_cast<size_t>(*limit - first));
    for (size_t begin = 0; begin < end; begin += step) {
      windows_.push_back({text, begin, std::min(end, begin + step), first});
      first += size_of(windows_.back());
    }
  }
  FATHOM_CHECK(!windows_.empty(), "{} texts without tokens", texts_.size());
}

std::vector<int32_t> TextWindows::model_input(const Window& window) const {
  const int32_t* ids = texts_[window.text].ids.data();
  std::vector<int32_t> input{*tokenizer_->bos_id()};
  input.insert(input.end(), ids + window.begin, ids + window.end);
  return input;
}

uint64_t TextWindows::num_bytes() const {
  uint64_t bytes = 0;
  for (const Window& window : windows_) {
    for (size_t i = window.begin; i < window.end; ++i) {
      bytes += tokenizer_->token_bytes(texts_[window.text].ids[i]).size();
    }
  }
  return bytes;
}

const Window& TextWindows::window_of(int64_t index) const {
  FATHOM_CHECK(index >= 0 && index < num_tokens(), "token {} of {}", index, num_tokens());
  const auto after =
      std::upper_bound(windows_.begin(), windows_.end(), index,
                       [](int64_t wanted, const Window& window) { return wanted < window.first; });
  return *(after - 1);
}

int32_t TextWindows::token(int64_t index) const {
  const Window& window = window_of(index);
  return texts_[window.text].ids[window.begin + static_cast<size_t>(index - window.first)];
}

TokenPlace TextWindows::place(int64_t index) const {
  constexpr size_t kTokensBefore = 12;
  const Window& window = window_of(index);
  const TokenText& text = texts_[window.text];
  const std::span<const int32_t> ids(text.ids);
  TokenPlace place;
  place.path = text.path;
  place.token = window.begin + static_cast<size_t>(index - window.first);
  for (size_t i = 0; i < place.token; ++i) place.byte += tokenizer_->token_bytes(ids[i]).size();
  const size_t shown = std::min(kTokensBefore, place.token);
  place.before = tokenizer_->decode(ids.subspan(place.token - shown, shown));
  place.text = tokenizer_->decode(ids.subspan(place.token, 1));
  return place;
}

}  // namespace fathom
