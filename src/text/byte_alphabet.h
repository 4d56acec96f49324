// The alphabet of byte-level BPE: each byte is written as one printable character in tokenizer.json. Bytes
// that are printable in Latin-1 stand for themselves, the other 68 for U+0100 and on, in their order.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fathom {

// The character of a byte.
char32_t byte_symbol(unsigned char byte);

// "Ġthe" -> " the"; nothing if a character lies outside the alphabet. text must be well-formed UTF-8.
std::optional<std::string> symbols_to_bytes(std::string_view text);

}  // namespace fathom
