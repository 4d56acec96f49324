#include "sample/stop_checker.h"

#include <algorithm>

namespace fathom {

StopChecker::StopChecker(const SamplingParams& params, std::span<const int32_t> end_token_ids)
    : stop_token_ids_(params.stop_token_ids), show_stop_string_(params.show_stop_string) {
  if (!params.ignore_eos)
    stop_token_ids_.insert(stop_token_ids_.end(), end_token_ids.begin(), end_token_ids.end());
  for (const std::string& text : params.stop_strings) {
    Pattern pattern;
    pattern.text = text;
    pattern.fallback.assign(text.size(), 0);
    size_t border = 0;
    for (size_t i = 1; i < text.size(); ++i) {
      while (border > 0 && text[i] != text[border]) border = pattern.fallback[border - 1];
      if (text[i] == text[border]) ++border;
      pattern.fallback[i] = static_cast<uint16_t>(border);
    }
    patterns_.push_back(std::move(pattern));
  }
}

StopVerdict StopChecker::check_token(int32_t token) const {
  const bool found =
      std::find(stop_token_ids_.begin(), stop_token_ids_.end(), token) != stop_token_ids_.end();
  return found ? StopVerdict::kStop : StopVerdict::kContinue;
}

StopVerdict StopChecker::push(std::string_view piece, std::string& out) {
  for (char byte : piece) {
    held_.push_back(byte);
    size_t complete = 0;  // bytes of the longest stop string that ends here
    for (Pattern& pattern : patterns_) {
      // Never a full match here: that one ended the text.
      size_t matched = pattern.matched;
      while (matched > 0 && pattern.text[matched] != byte) matched = pattern.fallback[matched - 1];
      if (pattern.text[matched] == byte) ++matched;
      pattern.matched = matched;
      if (matched == pattern.text.size()) complete = std::max(complete, matched);
    }
    if (complete > 0) {
      out.append(held_, 0, held_.size() - (show_stop_string_ ? 0 : complete));
      held_.clear();
      for (Pattern& pattern : patterns_) pattern.matched = 0;
      return StopVerdict::kStop;
    }
  }
  size_t keep = 0;
  for (const Pattern& pattern : patterns_) keep = std::max(keep, pattern.matched);
  out.append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return StopVerdict::kContinue;
}

void StopChecker::flush(std::string& out) {
  out.append(held_);
  held_.clear();
}

}  // namespace fathom
