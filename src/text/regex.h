// Regular expressions over UTF-8 text by PCRE2: compiled once, without recursion on the machine stack and
// with bounded work per search. Patterns are those of tokenizer.json (text/regex_syntax.h).
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/status.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

namespace fathom {

// What a search needs besides the pattern. One per thread or call; never shared between threads.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_data_8* match_data_;
  pcre2_real_match_context_8* match_context_;
};

// Immutable after compile(): any number of threads may search with it, each with its own scratch.
class Regex {
 public:
  // pattern: Oniguruma's syntax. Invalid or unsupported patterns are errors that quote it.
  static Result<Regex> compile(std::string_view pattern);
  // pattern: PCRE2's own syntax, for patterns of ours.
  static Result<Regex> compile_native(std::string_view pattern);

  Regex(Regex&& other) noexcept;
  Regex& operator=(Regex&& other) noexcept;
  ~Regex();

  struct Match {
    bool found;
    size_t begin;  // bytes; [begin, end)
    size_t end;
  };

  // The leftmost match that begins at or after from. text must be well-formed UTF-8 and from the start of a
  // code point in it or its end; lookbehind sees what lies before from. Fails when the search goes over the
  // limits on steps or memory, which no pattern of the known tokenizers does.
  Result<Match> find(std::string_view text, size_t from, RegexScratch& scratch) const;

 private:
  explicit Regex(pcre2_real_code_8* code);
  pcre2_real_code_8* code_;
  bool jit_;
};

}  // namespace fathom
