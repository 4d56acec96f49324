#include "text/jinja/lexer.h"

#include <algorithm>

#include "text/jinja/string_literal.h"
#include "text/jinja/unicode_text.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

using TokenKind = Token::Kind;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }

std::string_view without_left_spaces(std::string_view text) { return strip(text, Side::kLeft, nullptr); }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : rest_(source) {}

  Result<std::vector<Token>> run() {
    while (!rest_.empty()) FATHOM_RETURN_IF_ERROR(text());
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  // What follows a tag's opening, "-", "+" or nothing.
  enum class Sign { kNone, kStrip, kKeep };

  template <typename... Args>
  Status error(fmt::format_string<Args...> format, Args&&... args) const {
    return invalid_data("line {}: {}", line_, fmt::format(format, std::forward<Args>(args)...));
  }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  // Takes the next bytes; they count for the line number and for what stands before the next text.
  std::string_view take(size_t count) {
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    line_ += static_cast<int>(std::count(taken.begin(), taken.end(), '\n'));
    if (!taken.empty()) line_starts_ = taken.back() == '\n';
    return taken;
  }

  void take_spaces() { take(rest_.size() - without_left_spaces(rest_).size()); }
  bool next_is(std::string_view text) const { return rest_.starts_with(text); }

  static size_t find_tag(std::string_view text) {
    for (size_t at = text.find('{'); at != std::string_view::npos; at = text.find('{', at + 1)) {
      const char c = at + 1 < text.size() ? text[at + 1] : '\0';
      if (c == '{' || c == '%' || c == '#') return at;
    }
    return std::string_view::npos;
  }

  Status text() {
    const size_t tag = find_tag(rest_);
    if (tag == std::string_view::npos) {
      add_text(take(rest_.size()));
      return ok_status();
    }
    const bool line_starts = line_starts_;
    const std::string_view before = take(tag);
    const char type = rest_[1];
    take(2);
    const Sign sign = take_sign();
    add_text(strip_before(before, sign, type, line_starts));
    if (type == '#') return comment();
    if (type == '{') return tag_tokens(TokenKind::kPrintBegin, TokenKind::kPrintEnd, "}}");
    if (is_raw_tag()) return raw();
    return tag_tokens(TokenKind::kTagBegin, TokenKind::kTagEnd, "%}");
  }

  void add_text(std::string_view text) {
    if (!text.empty()) add(TokenKind::kText, std::string(text));
  }

  Sign take_sign() {
    const char c = rest_.empty() ? '\0' : rest_[0];
    if (c != '-' && c != '+') return Sign::kNone;
    take(1);
    return c == '-' ? Sign::kStrip : Sign::kKeep;
  }

  // lstrip_blocks: a tag alone with white space on its line takes that white space away; {{ never does.
  static std::string_view strip_before(std::string_view text, Sign sign, char type, bool line_starts) {
    if (sign == Sign::kStrip) return strip(text, Side::kRight, nullptr);
    if (sign == Sign::kKeep || type == '{') return text;
    const size_t newline = text.rfind('\n');
    const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (begin == 0 && !line_starts) return text;
    return without_left_spaces(text.substr(begin)).empty() ? text.substr(0, begin) : text;
  }

  // The end of a tag or comment: "-" strips what follows; otherwise trim_blocks takes one line end, save for
  // "+".
  bool take_end(std::string_view end) {
    const bool strips = next_is("-");
    const bool keeps = next_is("+");
    const size_t sign = strips || keeps ? 1 : 0;
    if (rest_.substr(sign).substr(0, end.size()) != end) return false;
    if (keeps && end == "}}") return false;
    take(sign + end.size());
    if (strips) {
      take_spaces();
    } else if (!keeps && end != "}}" && next_is("\n")) {
      take(1);
    }
    return true;
  }

  Status comment() {
    while (!rest_.empty()) {
      if (take_end("#}")) return ok_status();
      take(1);
    }
    return error("a comment without an end");
  }

  bool is_raw_tag() const {
    std::string_view rest = without_left_spaces(rest_);
    if (!rest.starts_with("raw")) return false;
    rest = without_left_spaces(rest.substr(3));
    return rest.starts_with("%}") || rest.starts_with("-%}");
  }

  Status raw() {
    take_spaces();
    take(3);
    take_spaces();
    const bool strips = next_is("-");
    take(strips ? 3 : 2);
    if (strips) take_spaces();
    const bool line_starts = strips && line_starts_;
    const std::string_view all = rest_;
    while (!rest_.empty()) {
      const size_t tag = std::min(rest_.find("{%"), rest_.size());
      take(tag);
      const std::string_view before = all.substr(0, all.size() - rest_.size());
      take(std::min<size_t>(2, rest_.size()));
      const std::string_view after_opening = rest_;
      const Sign sign = take_sign();
      take_spaces();
      if (next_is("endraw")) {
        take(6);
        take_spaces();
        if (take_end("%}")) {
          add_text(strip_before(before, sign, '%', line_starts));
          return ok_status();
        }
      }
      line_ -= static_cast<int>(std::count(after_opening.begin(),
                                           after_opening.end() - static_cast<ptrdiff_t>(rest_.size()), '\n'));
      rest_ = after_opening;
    }
    return error("a raw section without an end");
  }

  Status tag_tokens(TokenKind begin, TokenKind end_kind, std::string_view end) {
    add(begin, "");
    std::string open;  // brackets not yet closed
    while (true) {
      take_spaces();
      if (rest_.empty()) return error("a tag without an end");
      if (open.empty() && take_end(end)) {
        add(end_kind, "");
        return ok_status();
      }
      FATHOM_RETURN_IF_ERROR(token(open));
    }
  }

  Status token(std::string& open) {
    const char c = rest_[0];
    if (is_digit(c)) return number();
    if (c == '"' || c == '\'') return quoted();
    if (is_name_start(c)) {
      size_t length = 0;
      while (length < rest_.size() && is_name_part(rest_[length])) ++length;
      add(TokenKind::kName, std::string(take(length)));
      return ok_status();
    }
    return symbol(open);
  }

  Status symbol(std::string& open) {
    constexpr std::string_view kSymbols[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                             "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                             ">",  "<",  "=",  ".",  ":",  "|",  ","};
    for (const std::string_view symbol : kSymbols) {
      if (!next_is(symbol)) continue;
      if (symbol == "(" || symbol == "[" || symbol == "{") open += symbol;
      if (symbol == ")" || symbol == "]" || symbol == "}") {
        const char opening = symbol == ")" ? '(' : symbol == "]" ? '[' : '{';
        if (open.empty() || open.back() != opening) return error("\"{}\" closes nothing", symbol);
        open.pop_back();
      }
      add(TokenKind::kOperator, std::string(take(symbol.size())));
      return ok_status();
    }
    return error("unexpected character \"{}\"", rest_.substr(0, decode_utf8(rest_, 0).length));
  }

  size_t digits_from(size_t at) const {
    while (at < rest_.size() &&
           (is_digit(rest_[at]) || (rest_[at] == '_' && at + 1 < rest_.size() && is_digit(rest_[at + 1])))) {
      ++at;
    }
    return at;
  }

  // 12, 1_000, 1.5, 1e-7, 0x1f
  Status number() {
    const auto at = [&](size_t i) { return i < rest_.size() ? rest_[i] : '\0'; };
    TokenKind kind = TokenKind::kInteger;
    size_t end = 0;
    if (at(0) == '0' && (at(1) == 'x' || at(1) == 'X' || at(1) == 'o' || at(1) == 'b')) {
      return error("numbers with a base are not supported");
    }
    end = digits_from(0);
    if (at(end) == '.' && is_digit(at(end + 1))) {
      end = digits_from(end + 1);
      kind = TokenKind::kFloat;
    }
    if (at(end) == 'e' || at(end) == 'E') {
      const size_t sign = at(end + 1) == '+' || at(end + 1) == '-' ? 1 : 0;
      if (is_digit(at(end + 1 + sign))) {
        end = digits_from(end + 1 + sign);
        kind = TokenKind::kFloat;
      }
    }
    std::string text(take(end));
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    add(kind, std::move(text));
    return ok_status();
  }

  Status quoted() {
    const char quote = rest_[0];
    size_t end = 1;
    while (end < rest_.size() && rest_[end] != quote) end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) return error("a string without an end");
    Result<std::string> text = resolve_escapes(rest_.substr(1, end - 1));
    if (!text.ok()) return error("{}", text.status().message());
    add(TokenKind::kString, std::move(text).value());
    take(end + 1);
    return ok_status();
  }

  std::string_view rest_;
  int line_ = 1;
  bool line_starts_ = true;  // the last byte taken is a line end, or none has been taken
  std::vector<Token> tokens_;
};

// "\r\n" and "\r" become "\n"; one at the very end is dropped.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  const std::string normalized = normalize_newlines(source);
  return Lexer(normalized).run();
}

}  // namespace fathom::jinja
