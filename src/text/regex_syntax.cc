#include "text/regex_syntax.h"

#include "text/utf8.h"

namespace fathom {
namespace {

// The property White_Space, as the inside of a class.
constexpr std::string_view kSpaces =
    "\\x{9}-\\x{d} \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

constexpr size_t kMaxPatternBytes = size_t{1} << 16;

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> translate() {
    // Tried at every position of a run of spaces, \s+$ takes quadratic time. A match that exists starts at
    // the head of a run or of what the match before left of it, and the latter holds no further line end.
    if (pattern_ == "\\s+$") return fmt::format("(?<![{}])[{}]+$", kSpaces, kSpaces);
    while (at_ < pattern_.size()) {
      FATHOM_RETURN_IF_ERROR(in_class_ ? class_item() : item());
    }
    if (in_class_) return refuse("a class without an end");
    return std::move(out_);
  }

 private:
  Status refuse(std::string_view what) const {
    return unsupported("pattern {} has {} at byte {}, which is not supported", dump(), what, at_);
  }

  std::string dump() const {
    constexpr size_t kShown = 60;
    if (pattern_.size() <= kShown) return fmt::format("\"{}\"", pattern_);
    return fmt::format("\"{}...\"", replace_invalid_utf8(pattern_.substr(0, kShown)));
  }

  char peek(size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }

  void copy(size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }

  // Outside a class.
  Status item() {
    switch (peek()) {
      case '\\':
        return escape();
      case '[':
        copy(1);
        if (peek() == '^') copy(1);
        if (peek() == ']') return refuse("an empty class");
        in_class_ = true;
        return ok_status();
      case '(':
        return group();
      case '{':
        return interval();
      default:
        copy(1);
        return ok_status();
    }
  }

  Status class_item() {
    switch (peek()) {
      case '\\':
        return escape();
      case '[':
        return refuse("a class inside a class");
      case '&':
        if (peek(1) == '&') return refuse("a class intersection");
        copy(1);
        return ok_status();
      case ']':
        in_class_ = false;
        copy(1);
        return ok_status();
      default:
        copy(1);
        return ok_status();
    }
  }

  Status escape() {
    const char c = peek(1);
    if (c == 'p' || c == 'P') return property();
    if (c == 's' || (c == 'S' && !in_class_)) {
      out_ += in_class_ ? std::string(kSpaces) : fmt::format("[{}{}]", c == 'S' ? "^" : "", kSpaces);
      at_ += 2;
      return ok_status();
    }
    const bool known = c == 'd' || c == 'D' || c == 'r' || c == 'n' || c == 't';
    const bool punctuation = c > ' ' && c < 0x7F && !is_letter_or_digit(c);
    if (!known && !punctuation) return refuse("an escape");
    copy(2);
    return ok_status();
  }

  // \p{L} \p{Lu} \P{L} \p{^L}: general categories only, whose meaning the engines share.
  Status property() {
    const size_t start = at_ + 2;
    const size_t end = pattern_.find('}', start);
    if (peek(2) != '{' || end == std::string_view::npos) return refuse("a property without braces");
    std::string_view name = pattern_.substr(start + 1, end - start - 1);
    if (!name.empty() && name.front() == '^') name.remove_prefix(1);
    constexpr std::string_view kMajor = "LMNPSZC";
    const bool category = (name.size() == 1 || (name.size() == 2 && name[1] >= 'a' && name[1] <= 'z')) &&
                          kMajor.find(name[0]) != std::string_view::npos;
    if (!category) return refuse("a property that is not a general category");
    copy(end + 1 - at_);
    return ok_status();
  }

  // ( (?: (?i: (?= (?! (?<= (?<! (?>
  Status group() {
    if (peek(1) != '?') {
      copy(1);
      return ok_status();
    }
    for (const std::string_view opening : {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}) {
      if (pattern_.substr(at_, opening.size()) == opening) {
        copy(opening.size());
        return ok_status();
      }
    }
    return refuse("a group of a kind");
  }

  // {n} {n,} {n,m}; Ruby reads {,m} and a following '+' in its own way.
  Status interval() {
    const size_t end = pattern_.find('}', at_);
    const std::string_view inside =
        end == std::string_view::npos ? "" : pattern_.substr(at_ + 1, end - at_ - 1);
    const bool numbers = !inside.empty() && inside.front() >= '0' && inside.front() <= '9' &&
                         inside.find_first_not_of("0123456789,") == std::string_view::npos;
    if (!numbers) return refuse("a brace that is not a repeat");
    copy(end + 1 - at_);
    if (peek() == '+') return refuse("a possessive interval");
    return ok_status();
  }

  std::string_view pattern_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

Result<std::string> translate_regex(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return unsupported("pattern of {} bytes is over the limit of {} bytes", pattern.size(), kMaxPatternBytes);
  }
  const size_t bad = find_invalid_utf8(pattern);
  if (bad != std::string_view::npos) return invalid_data("pattern has invalid UTF-8 at byte {}", bad);
  return Translator(pattern).translate();
}

}  // namespace fathom
