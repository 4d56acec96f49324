// The pre_tokenizer of tokenizer.json: cuts text into the pieces that byte-level BPE then encodes one by one.
// Offers what the DeepSeek and GPT-2 families use: a list of Split (isolated), Digits and, last, ByteLevel.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/regex.h"
#include "text/tokenizer_json.h"

namespace fathom {

// Receives the pieces in the order of the text; a piece is never empty and lives only during the call.
using PieceSink = std::function<void(std::string_view piece)>;

// Immutable after loading: any number of threads, each with its own scratch.
class PreTokenizer {
 public:
  // description: the value of "pre_tokenizer". Errors name the field.
  static Result<PreTokenizer> from_json(const TokenizerJson& description);

  // text: well-formed UTF-8. The work is linear in its size. Fails only as Regex::find does.
  Status split(std::string_view text, RegexScratch& scratch, const PieceSink& sink) const;

 private:
  enum class Kind {
    kRegex,             // each match is a piece of its own, and so is what lies between matches
    kIndividualDigits,  // each numeric character is a piece of its own
    kDigitRuns,         // each run of numeric characters
    kPrefixSpace,       // puts a space before a piece that does not begin with one
  };
  struct Step {
    Kind kind;
    std::vector<Regex> regex;  // one for kRegex, else none
  };

  Status add(const TokenizerJson& description, const std::string& where);
  Status add_split(const TokenizerJson& description, const std::string& where);
  Status add_byte_level(const TokenizerJson& description, const std::string& where);
  Status run(size_t step_index, std::string_view text, RegexScratch& scratch, const PieceSink& sink) const;
  Status run_regex(size_t step_index, std::string_view text, RegexScratch& scratch,
                   const PieceSink& sink) const;
  Status run_digits(size_t step_index, std::string_view text, RegexScratch& scratch,
                    const PieceSink& sink) const;

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace fathom
