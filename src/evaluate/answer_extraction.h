// The answer in a model's free text, by the rules of the conventions. Any text is possible: a rule that finds
// nothing gives nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/regex.h"

namespace fathom {

// The first character that is no white space: modeltest's answer to a question with examples before it.
std::string_view first_character(std::string_view text);

// The letter A, B, C or D that a reasoned answer settles on: an ordered list of phrases, Chinese and English;
// the first that occurs with a letter decides, last of all any letter. The rules are OpenCompass's and
// modeltest's.
class LetterExtractor {
 public:
  static Result<LetterExtractor> create();
  // Empty where there is none.
  std::string extract(std::string_view text) const;

 private:
  explicit LetterExtractor(std::vector<Regex> phrases) : phrases_(std::move(phrases)) {}
  std::vector<Regex> phrases_;
};

// GSM8K.
class NumberExtractor {
 public:
  static Result<NumberExtractor> create();
  // The harness' rules: what follows the last-line mark "#### ", or the last number of the text, as written.
  std::optional<std::string> after_mark(std::string_view text) const;
  std::optional<std::string> last(std::string_view text) const;
  // modeltest's: the last number, without commas and plus sign.
  std::optional<std::string> last_plain(std::string_view text) const;

 private:
  NumberExtractor(Regex mark, Regex loose, Regex plain)
      : mark_(std::move(mark)), loose_(std::move(loose)), plain_(std::move(plain)) {}
  Regex mark_;
  Regex loose_;
  Regex plain_;
};

// What the harness compares of two GSM8K answers: commas, dollar signs, all up to the mark and a final dot
// removed, in lower case.
std::string comparable_number(std::string_view text);
// Whether two decimal numbers, written without commas, differ by at most 1e-4; false where one is none.
bool numbers_close(std::string_view a, std::string_view b);

// HumanEval as modeltest cuts it: up to the first line that begins at the margin, or to the last of its end
// words.
std::string function_body(std::string_view text);

}  // namespace fathom
