#include "text/utf8.h"

#include <gtest/gtest.h>

#include <random>

namespace fathom {
namespace {

TEST(Utf8, FindsTheFirstBadByte) {
  const auto npos = std::string_view::npos;
  EXPECT_EQ(find_invalid_utf8(""), npos);
  EXPECT_EQ(find_invalid_utf8(std::string_view("a\0b", 3)), npos);
  EXPECT_EQ(find_invalid_utf8("h\u00e9\u4f60\U0001f600\U0010ffff"), npos);
  EXPECT_EQ(find_invalid_utf8("ab\xff"), 2u);
  EXPECT_EQ(find_invalid_utf8("a\xc3"), 1u);             // cut off
  EXPECT_EQ(find_invalid_utf8("\xc0\x80"), 0u);          // overlong
  EXPECT_EQ(find_invalid_utf8("\xe0\x9f\xbf"), 0u);      // overlong
  EXPECT_EQ(find_invalid_utf8("x\xed\xa0\x80"), 1u);     // surrogate
  EXPECT_EQ(find_invalid_utf8("\xf4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("\u00e9\x80"), 2u);        // continuation alone
  EXPECT_EQ(find_invalid_utf8("\xf8\x88\x80\x80\x80"), 0u);
}

TEST(Utf8, DecodesWhatItAppends) {
  for (char32_t c = 0; c <= 0x10FFFF; c += c < 0x3000 ? 1 : 37) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text = "x";
    append_utf8(c, text);
    ASSERT_EQ(find_invalid_utf8(text), std::string_view::npos) << static_cast<uint32_t>(c);
    const CodePoint point = decode_utf8(text, 1);
    ASSERT_TRUE(point.value == c) << static_cast<uint32_t>(c);
    ASSERT_EQ(point.length, text.size() - 1);
  }
}

// What bytes.decode("utf-8", errors="replace") gives in Python.
TEST(Utf8, ReplacesAsPythonDoes) {
  const std::string r = "\uFFFD";
  EXPECT_EQ(replace_invalid_utf8("a\xff"), "a" + r);
  EXPECT_EQ(replace_invalid_utf8("\xe4\xbd"), r);  // one for a cut-off character
  EXPECT_EQ(replace_invalid_utf8("\xe4\xbdz"), r + "z");
  EXPECT_EQ(replace_invalid_utf8("\xf0\x9f\x98\xe4"), r + r);
  EXPECT_EQ(replace_invalid_utf8("\xed\xa0\x80"), r + r + r);  // surrogate: each byte
  EXPECT_EQ(replace_invalid_utf8("\xc0\xaf"), r + r);
  EXPECT_EQ(replace_invalid_utf8("\xf4\x90\x80"), r + r + r);
  EXPECT_EQ(replace_invalid_utf8("\x80\x80"), r + r);
}

TEST(Utf8, StreamDependsOnBytesNotOnPortions) {
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  const std::string pieces[] = {"a",    "\xc3", "\xa9", "\xe4", "\xbd", "\xa0",
                                "\xf0", "\x9f", "\x98", "\x80", "\xff", "\xed"};
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    for (size_t i = random() % 12; i > 0; --i) bytes += pieces[random() % std::size(pieces)];
    std::string streamed;
    Utf8Stream stream;
    for (size_t i = 0; i < bytes.size();) {
      const size_t count = 1 + random() % 3;
      stream.push(std::string_view(bytes).substr(i, count), streamed);
      ASSERT_EQ(find_invalid_utf8(streamed), std::string_view::npos);
      i += count;
    }
    stream.flush(streamed);
    ASSERT_EQ(streamed, replace_invalid_utf8(bytes)) << "seed " << kSeed << " round " << round;
  }
}

TEST(Utf8, StreamEmitsCompleteCharactersAtOnce) {
  Utf8Stream stream;
  std::string out;
  stream.push("a\xe4\xbd", out);
  EXPECT_EQ(out, "a");
  stream.push("\xa0", out);
  EXPECT_EQ(out, "a\u4f60");
  stream.push("\xe4", out);
  stream.flush(out);
  EXPECT_EQ(out, "a\u4f60\uFFFD");
  stream.flush(out);
  EXPECT_EQ(out, "a\u4f60\uFFFD");
}

}  // namespace
}  // namespace fathom
