// UTF-8: checking, decoding, and the replacement of ill-formed bytes by U+FFFD. Well-formed is what Unicode
// says: no overlong forms, no surrogates, nothing above U+10FFFF. Not for normalisation or properties
// (text/unicode.h).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fathom {

// What stands at the beginning of a byte sequence.
struct Utf8Scan {
  enum class Kind {
    kComplete,   // one code point of `length` bytes
    kTruncated,  // all `length` bytes there are begin a code point whose end is missing
    kInvalid,    // the first `length` bytes (at least 1) can never become one: one U+FFFD stands for them
  };
  Kind kind;
  size_t length;
};

// Precondition: bytes is not empty. Looks at 4 bytes at most.
Utf8Scan scan_utf8(std::string_view bytes);

// The offset of the first byte that is not part of well-formed UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

struct CodePoint {
  char32_t value;
  size_t length;  // bytes
};

// The code point at text[offset]. Precondition: text is well-formed and offset is the start of a code point.
CodePoint decode_utf8(std::string_view text, size_t offset);

// Precondition: value is a Unicode scalar value.
void append_utf8(char32_t value, std::string& out);

// Turns bytes that arrive in any portions into well-formed UTF-8: complete code points pass at once, the
// beginning of one waits for its end, and each longest ill-formed part becomes one U+FFFD, as Python's
// errors="replace" does. The result depends only on the bytes, never on the portions. One thread.
class Utf8Stream {
 public:
  // Appends to out all text that is certain after these bytes.
  void push(std::string_view bytes, std::string& out);
  // Ends the text: an unfinished code point becomes U+FFFD. The stream is then empty again.
  void flush(std::string& out);

 private:
  std::string pending_;  // fewer than 4 bytes: the beginning of a code point
};

// The whole text at once: as push() and flush() of a fresh stream.
std::string replace_invalid_utf8(std::string_view bytes);

}  // namespace fathom
