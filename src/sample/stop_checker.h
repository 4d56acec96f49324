// When a request's own stop conditions end it: stop tokens, and stop strings in the streamed text. A stop
// string may span pieces, so text that may be the beginning of one is held back; the stop string itself is
// never shown. Length limits are the scheduler's. One thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sample/sampling_params.h"

namespace fathom {

enum class StopVerdict { kContinue, kStop };

class StopChecker {
 public:
  // Precondition: params.validate().ok(). end_token_ids are the model's own; params.ignore_eos leaves them
  // out.
  StopChecker(const SamplingParams& params, std::span<const int32_t> end_token_ids);

  // Asked before the token becomes text: a stop token has none. After kStop call flush().
  StopVerdict check_token(int32_t token) const;

  // Takes the next piece of text, whole UTF-8 characters, and appends to `out` what may be shown. kStop when
  // a stop string is complete: the text before it (and itself, with show_stop_string) has been appended, the
  // rest of the piece is dropped, and the checker takes no more. Of several stop strings the first to be
  // complete counts, the longest of those that end at the same byte; so the result does not depend on how the
  // text is cut into pieces. Cost: bytes of the piece times number of stop strings. Holds at most 255 bytes
  // back.
  StopVerdict push(std::string_view piece, std::string& out);

  // The text ends for another reason: appends what was held back.
  void flush(std::string& out);

 private:
  // One stop string as the automaton of Knuth, Morris and Pratt (1977).
  struct Pattern {
    std::string text;
    std::vector<uint16_t> fallback;  // [size]: length of the longest proper border of text[0, i]
    size_t matched = 0;              // bytes of text that the pushed bytes end with; the longest such prefix
  };

  std::vector<int32_t> stop_token_ids_;
  bool show_stop_string_;
  std::vector<Pattern> patterns_;
  std::string held_;  // pushed but not shown
};

}  // namespace fathom
