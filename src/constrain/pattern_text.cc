#include "constrain/pattern_text.h"

#include <algorithm>

#include "constrain/grammar.h"
#include "constrain/limits.h"
#include "text/utf8.h"

namespace fathom {
namespace {

int hex_value(char32_t c) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A') + 10;
  return -1;
}

}  // namespace

Status PatternText::check_utf8() const {
  const size_t bad = find_invalid_utf8(text_);
  return bad == std::string_view::npos ? ok_status() : error_at(bad, "not UTF-8");
}

char32_t PatternText::peek() const { return decode_utf8(text_, offset_).value; }

char32_t PatternText::next() {
  const CodePoint point = decode_utf8(text_, offset_);
  offset_ += point.length;
  return point.value;
}

bool PatternText::take(char c) { return take(std::string_view(&c, 1)); }

bool PatternText::take(std::string_view text) {
  if (!text_.substr(offset_).starts_with(text)) return false;
  offset_ += text.size();
  return true;
}

bool PatternText::at_range_dash() const {
  return text_.substr(offset_).starts_with('-') && offset_ + 1 < text_.size() && text_[offset_ + 1] != ']';
}

Result<uint32_t> PatternText::take_count(size_t begin) {
  uint64_t value = 0;
  bool has_digits = false;
  for (; !at_end() && text_[offset_] >= '0' && text_[offset_] <= '9'; ++offset_) {
    has_digits = true;
    value = std::min<uint64_t>(value * 10 + static_cast<uint64_t>(text_[offset_] - '0'), UINT32_MAX);
  }
  if (!has_digits) return error_at(begin, "a repetition in braces needs a count");
  if (value > kMaxRepetition) {
    return error_at(begin, fmt::format("a repetition of {} is over the limit of {}", value, kMaxRepetition));
  }
  return static_cast<uint32_t>(value);
}

Status PatternText::take_counts(uint32_t& min, uint32_t& max) {
  const size_t begin = offset_;
  take('{');
  min = 0;
  const bool has_min = !at_end() && peek() != ',';
  if (has_min) {
    FATHOM_ASSIGN_OR_RETURN(min, take_count(begin));
  }
  max = min;
  if (take(',')) {
    max = kUnbounded;
    if (!has_min || (!at_end() && peek() != '}')) {
      FATHOM_ASSIGN_OR_RETURN(max, take_count(begin));
    }
  }
  if (!take('}')) return error_at(begin, "a repetition without '}'");
  if (min > max) return error_at(begin, "a repetition whose least count is above its greatest");
  return ok_status();
}

Result<char32_t> PatternText::take_hex(size_t begin, int digits) {
  char32_t value = 0;
  for (int i = 0; i < digits; ++i) {
    const int digit = at_end() ? -1 : hex_value(peek());
    if (digit < 0) return error_at(begin, fmt::format("this escape needs {} hex digits", digits));
    next();
    value = value * 16 + static_cast<char32_t>(digit);
  }
  return check_scalar(begin, value);
}

Result<char32_t> PatternText::check_scalar(size_t begin, char32_t value) const {
  if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
    return error_at(begin, fmt::format("U+{:04X} is not a character", static_cast<uint32_t>(value)));
  }
  return value;
}

Status PatternText::error_at(size_t offset, std::string_view what) const {
  if (position_ == Position::kOffset) return invalid_argument("offset {}: {}", offset, what);
  return invalid_argument("line {}: {}", line_at(offset), what);
}

size_t PatternText::line_at(size_t offset) const {
  return 1 + static_cast<size_t>(
                 std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
}

}  // namespace fathom
