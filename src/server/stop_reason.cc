#include "server/stop_reason.h"

#include <algorithm>

namespace fathom {

StopReason::StopReason(SamplingParams& sampling)
    : strings_(sampling.stop_strings),
      tokens_(sampling.stop_token_ids),
      shows_string_(sampling.show_stop_string) {
  if (!strings_.empty()) sampling.show_stop_string = true;
  // The longest that ends the text is the one that stopped it.
  std::stable_sort(strings_.begin(), strings_.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
}

// A stop string is held back until it is whole, so all of it comes with the last event.
Json StopReason::find(GenerationEvent& event) const {
  if (!event.ends()) return nullptr;
  for (const std::string& string : strings_) {
    if (!event.text.ends_with(string)) continue;
    if (!shows_string_) event.text.resize(event.text.size() - string.size());
    return string;
  }
  const bool stopped =
      event.finish_reason == FinishReason::kStop && event.kind == GenerationEventKind::kToken;
  if (stopped && std::find(tokens_.begin(), tokens_.end(), event.token.id) != tokens_.end()) {
    return event.token.id;
  }
  return nullptr;
}

}  // namespace fathom
