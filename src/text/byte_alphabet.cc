#include "text/byte_alphabet.h"

#include <array>

#include "text/utf8.h"

namespace fathom {
namespace {

constexpr char32_t kShiftedBase = 0x100;
constexpr size_t kNumSymbols = 0x100 + 68;

bool is_printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> symbol{};
  std::array<int, kNumSymbols> byte{};  // -1: no byte has this symbol

  Alphabet() {
    byte.fill(-1);
    char32_t next = kShiftedBase;
    for (unsigned b = 0; b < 256; ++b) {
      symbol[b] = is_printable(b) ? b : next++;
      byte[symbol[b]] = static_cast<int>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

char32_t byte_symbol(unsigned char byte) { return alphabet().symbol[byte]; }

std::optional<std::string> symbols_to_bytes(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    if (point.value >= kNumSymbols || alphabet().byte[point.value] < 0) return std::nullopt;
    bytes += static_cast<char>(alphabet().byte[point.value]);
    i += point.length;
  }
  return bytes;
}

}  // namespace fathom
