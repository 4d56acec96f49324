// Tokens found in the text itself before it is cut into pieces: special tokens and others that were added to
// the vocabulary by name. The longest of those that begin leftmost is taken; tokens that are not "normalized"
// are looked for first, in the whole text, the others in what lies between.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/regex.h"

namespace fathom {

// One entry of "added_tokens".
struct AddedToken {
  int32_t id = 0;
  std::string content;       // well-formed UTF-8, not empty
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = true;
  bool special = false;
};

// Immutable after create(): any number of threads, each with its own scratch.
class AddedTokens {
 public:
  enum class Special {
    kFind,
    kLeaveAsText,  // special tokens are treated as any other text
  };

  // Contents are distinct.
  static Result<AddedTokens> create(std::vector<AddedToken> tokens);

  // What the text consists of, in its order: either an added token or the text between two, which is never
  // empty.
  struct Sink {
    std::function<Status(std::string_view text)> text;
    std::function<void(int32_t id)> token;
  };
  // text: well-formed UTF-8. Linear in its size, times the length of the longest token at worst.
  Status split(std::string_view text, Special special, RegexScratch& scratch, const Sink& sink) const;

 private:
  // The tokens of one pass, sorted by content, so that those with a common beginning lie together.
  struct Pass {
    std::vector<AddedToken> tokens;
    std::vector<bool> first_byte = std::vector<bool>(256);  // whether a token begins with it
  };
  struct Find {
    const AddedToken* token;
    size_t begin;  // [begin, end) is taken by the token
    size_t end;
  };

  explicit AddedTokens(Regex word) : word_(std::move(word)) {}
  const AddedToken* longest_at(const Pass& pass, std::string_view text, size_t offset) const;
  Result<std::vector<Find>> find_all(const Pass& pass, std::string_view text, Special special,
                                     RegexScratch& scratch) const;
  Result<bool> touches_word(std::string_view text, size_t begin, size_t end, RegexScratch& scratch) const;
  Status split_pass(size_t pass_index, std::string_view text, Special special, RegexScratch& scratch,
                    const Sink& sink) const;

  Pass passes_[2];  // not normalized, normalized
  Regex word_;      // one word character
};

}  // namespace fathom
