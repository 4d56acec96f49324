// Reading a pattern or a grammar character by character, with errors that say where.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom {

enum class Position { kOffset, kLine };

// The text outlives the reader.
class PatternText {
 public:
  explicit PatternText(std::string_view text, Position position = Position::kOffset)
      : text_(text), position_(position) {}

  // Precondition of all below: this is ok.
  Status check_utf8() const;

  bool at_end() const { return offset_ == text_.size(); }
  size_t offset() const { return offset_; }  // bytes
  // Precondition for both: not at_end().
  char32_t peek() const;
  char32_t next();
  // Takes the character if it is next.
  bool take(char c);
  bool take(std::string_view text);
  // Whether a '-' is next that is not the last character of a class.
  bool at_range_dash() const;

  // {m}, {m,}, {,n} or {m,n}, which is next. Fails above kMaxRepetition; max is kUnbounded where there is
  // none.
  Status take_counts(uint32_t& min, uint32_t& max);
  // So many hexadecimal digits as one scalar value. begin: of the escape.
  Result<char32_t> take_hex(size_t begin, int digits);
  Result<char32_t> check_scalar(size_t begin, char32_t value) const;

  Status error(std::string_view what) const { return error_at(offset_, what); }
  Status error_at(size_t offset, std::string_view what) const;
  size_t line_at(size_t offset) const;

 private:
  Result<uint32_t> take_count(size_t begin);

  std::string_view text_;
  Position position_;
  size_t offset_ = 0;
};

}  // namespace fathom
