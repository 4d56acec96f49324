// Ids that arrive one by one, as text: whatever the portions, the pieces together are Tokenizer::decode of
// all ids.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"
#include "text/utf8.h"

namespace fathom {

// One stream of text. One thread; the tokenizer must outlive it.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, SpecialInOutput special = SpecialInOutput::kSkip)
      : tokenizer_(tokenizer), special_(special) {}

  // The text that is certain now: whole characters only. A character whose bytes are spread over tokens comes
  // with its last one; bytes that can never become a character come as U+FFFD. Ids without a token add
  // nothing.
  std::string push(int32_t id);
  // What was held back, as U+FFFD. The next push begins a new text.
  std::string flush();

 private:
  const Tokenizer& tokenizer_;
  SpecialInOutput special_;
  Utf8Stream stream_;
};

}  // namespace fathom
