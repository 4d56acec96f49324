#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "text/detokenizer.h"
#include "text/tiny_tokenizer.h"

namespace fathom {
namespace {

using Ids = std::vector<int32_t>;

std::unique_ptr<Tokenizer> tokenizer_of(const TokenizerJson& document,
                                        const TokenizerJson& config = tiny::config_json()) {
  auto tokenizer = tiny::load(document, config);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

TokenizerJson english() {
  return tiny::tokenizer_json(
      {{"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {" ", "w"}, {"\xe4", "\xbd"}});
}

Ids encode(const Tokenizer& tokenizer, std::string_view text,
           const EncodeOptions& options = {.add_bos = AddBos::kNever}) {
  const auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  return ids.ok() ? *ids : Ids();
}

TEST(Tokenizer, EncodesAndKnowsItsTokens) {
  const auto tokenizer = tokenizer_of(english());
  EXPECT_EQ(tokenizer->vocab_size(), 256 + 6 + 2);
  EXPECT_EQ(tokenizer->bos_id(), 262);
  EXPECT_EQ(tokenizer->eos_id(), 263);
  EXPECT_TRUE(tokenizer->is_special(262));
  EXPECT_FALSE(tokenizer->is_special(0));
  EXPECT_FALSE(tokenizer->is_special(-1));
  EXPECT_FALSE(tokenizer->is_special(264));
  EXPECT_EQ(encode(*tokenizer, "hello w"), (Ids{259, 260}));
  EXPECT_EQ(encode(*tokenizer, ""), Ids());
  EXPECT_EQ(tokenizer->token_bytes(260), " w");
  EXPECT_EQ(tokenizer->spelling(260), "Ġw");
  EXPECT_EQ(tokenizer->token_bytes(262), tiny::kBos);
  EXPECT_EQ(tokenizer->token_bytes(-1), "");
  EXPECT_EQ(tokenizer->token_bytes(264), "");
  EXPECT_EQ(tokenizer->find("Ġw"), 260);
  EXPECT_EQ(tokenizer->find("no such token"), std::nullopt);
}

TEST(Tokenizer, BosIsAddedAsConfiguredOrAsked) {
  const auto tokenizer = tokenizer_of(english());
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(encode(*tokenizer, "h", {}), (Ids{262, 'h'}));
  EXPECT_EQ(encode(*tokenizer, "", {}), (Ids{262}));
  EXPECT_EQ(encode(*tokenizer, "h"), (Ids{'h'}));
  TokenizerJson config = tiny::config_json();
  config["add_bos_token"] = false;
  const auto without = tokenizer_of(english(), config);
  EXPECT_EQ(encode(*without, "h", {}), (Ids{'h'}));
  EXPECT_EQ(encode(*without, "h", {.add_bos = AddBos::kAlways}), (Ids{262, 'h'}));
  const auto none = tokenizer_of(english(), TokenizerJson::object());
  EXPECT_FALSE(none->adds_bos());
  EXPECT_FALSE(none->encode("h", {.add_bos = AddBos::kAlways}).ok());
  TokenizerJson llama = tiny::config_json();
  llama.erase("add_bos_token");
  llama["tokenizer_class"] = "LlamaTokenizerFast";
  EXPECT_TRUE(tokenizer_of(english(), llama)->adds_bos());
  TokenizerJson templated = english();
  templated["post_processor"] = {{"type", "TemplateProcessing"},
                                 {"single",
                                  {{{"SpecialToken", {{"id", tiny::kBos}, {"type_id", 0}}}},
                                   {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}}};
  TokenizerJson plain = tiny::config_json();
  plain.erase("add_bos_token");
  EXPECT_TRUE(tokenizer_of(templated, plain)->adds_bos());
}

TEST(Tokenizer, SpecialTokensInTextAreParsedOrLeft) {
  const auto tokenizer = tokenizer_of(english());
  const std::string text = std::string("h") + tiny::kEos + "h";
  EXPECT_EQ(encode(*tokenizer, text), (Ids{'h', 263, 'h'}));
  const Ids plain = encode(*tokenizer, text, {.add_bos = AddBos::kNever, .special = SpecialInText::kAsText});
  EXPECT_EQ(plain.size(), text.size());
  EXPECT_EQ(tokenizer->decode(plain), text);
}

TEST(Tokenizer, AddedTokenFlags) {
  TokenizerJson document = english();
  const auto add = [&](const char* content, const char* flag) {
    TokenizerJson token =
        tiny::added_token(262 + static_cast<int>(document["added_tokens"].size()), content, false);
    if (flag != nullptr) token[flag] = !token[flag].get<bool>();
    document["added_tokens"].push_back(token);
  };
  add("[L]", "lstrip");        // 264
  add("[R]", "rstrip");        // 265
  add("word", "single_word");  // 266
  add("[LONG", nullptr);       // 267
  add("[LONGER]", nullptr);    // 268
  const auto tokenizer = tokenizer_of(document);
  EXPECT_EQ(encode(*tokenizer, "h  [L] h"), (Ids{'h', 264, ' ', 'h'}));
  EXPECT_EQ(encode(*tokenizer, "h [R]  \n\u3000h"), (Ids{'h', ' ', 265, 'h'}));
  EXPECT_EQ(encode(*tokenizer, "word"), (Ids{266}));
  EXPECT_EQ(encode(*tokenizer, "(word)"), (Ids{'(', 266, ')'}));
  EXPECT_EQ(encode(*tokenizer, "words").size(), 5u);
  EXPECT_EQ(encode(*tokenizer, "\u00e9word").size(), 6u);
  EXPECT_EQ(encode(*tokenizer, "[LONGER]"), (Ids{268}));
  EXPECT_EQ(encode(*tokenizer, "[LONGE"), (Ids{267, 'E'}));
  EXPECT_EQ(encode(*tokenizer, "[LON").size(), 4u);
}

TEST(Tokenizer, TokensThatAreNotNormalizedComeFirst) {
  TokenizerJson document = english();
  TokenizerJson inner = tiny::added_token(264, "<>", false);
  inner["normalized"] = false;
  document["added_tokens"].push_back(tiny::added_token(265, "a<>c", false));
  document["added_tokens"].push_back(inner);
  const auto tokenizer = tokenizer_of(document);
  EXPECT_EQ(encode(*tokenizer, "a<>c"), (Ids{'a', 264, 'c'}));
}

// A byte symbol that only an added token spells is no byte of BPE.
TEST(Tokenizer, AddedTokensAreNoTokensOfTheModel) {
  TokenizerJson document = english();
  TokenizerJson& vocab = document["model"]["vocab"];
  vocab.erase("ø");  // byte 0xF8 = id 248; the last token takes its place
  vocab[tiny::symbols("\xe4\xbd")] = 248;
  document["added_tokens"] = {tiny::added_token(261, "ø", false)};
  const auto tokenizer = tokenizer_of(document, TokenizerJson::object());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(encode(*tokenizer, "aøb"), (Ids{'a', 261, 'b'}));
  EXPECT_EQ(tokenizer->decode(Ids{261}), "\uFFFD");  // the decoder takes the spelling for a byte
}

TEST(Tokenizer, InvalidUtf8NamesTheOffset) {
  const auto tokenizer = tokenizer_of(english());
  const auto result = tokenizer->encode("ab\xc3(");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(result.status().message(), "text is not valid UTF-8 at byte offset 2");
}

TEST(Tokenizer, DecodeReplacesSkipsAndIgnores) {
  const auto tokenizer = tokenizer_of(english());
  EXPECT_EQ(tokenizer->decode(Ids{262, 259, 263}), std::string(tiny::kBos) + "hello" + tiny::kEos);
  EXPECT_EQ(tokenizer->decode(Ids{262, 259, 263}, SpecialInOutput::kSkip), "hello");
  EXPECT_EQ(tokenizer->decode(Ids{0xE4, 0xBD, 0xA0}), "\u4f60");
  EXPECT_EQ(tokenizer->decode(Ids{0xE4, 'a'}), "\uFFFDa");
  EXPECT_EQ(tokenizer->decode(Ids{-1, 'a', 99999, 'b'}), "ab");
}

std::string random_text(std::mt19937& random, size_t max_length) {
  const char32_t marks[] = {' ',    '\n',   '\r',    'a', 'h',   'Z',    '1', '!',
                            0x3000, 0x4e00, 0x1F600, 0,   0x5d0, 0xAC00, 0xB2};
  std::string text;
  for (size_t i = random() % max_length; i > 0; --i) {
    char32_t c = marks[random() % std::size(marks)];
    if (random() % 4 == 0) c = random() % 0x110000;
    if (c < 0xD800 || c > 0xDFFF) append_utf8(c, text);
  }
  return text;
}

TEST(Tokenizer, DecodeIsTheInverseOfEncode) {
  constexpr unsigned kSeed = 3;
  std::mt19937 random(kSeed);
  const auto tokenizer = tokenizer_of(english());
  for (int round = 0; round < 2000; ++round) {
    const std::string text = random_text(random, 60);
    ASSERT_EQ(tokenizer->decode(encode(*tokenizer, text)), text) << "seed " << kSeed << " round " << round;
  }
}

TEST(Detokenizer, PushedPiecesAreTheWholeText) {
  constexpr unsigned kSeed = 5;
  std::mt19937 random(kSeed);
  const auto tokenizer = tokenizer_of(english());
  for (int round = 0; round < 2000; ++round) {
    Ids ids;
    for (size_t i = random() % 30; i > 0; --i) ids.push_back(static_cast<int32_t>(random() % 300) - 10);
    for (const auto special : {SpecialInOutput::kKeep, SpecialInOutput::kSkip}) {
      Detokenizer detokenizer(*tokenizer, special);
      std::string text;
      for (const int32_t id : ids) {
        const std::string piece = detokenizer.push(id);
        ASSERT_EQ(find_invalid_utf8(piece), std::string_view::npos);
        text += piece;
      }
      text += detokenizer.flush();
      ASSERT_EQ(text, tokenizer->decode(ids, special)) << "seed " << kSeed << " round " << round;
    }
  }
}

TEST(Detokenizer, HoldsBackUnfinishedCharacters) {
  const auto tokenizer = tokenizer_of(english());
  Detokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.push('a'), "a");
  EXPECT_EQ(detokenizer.push(261), "");  // E4 BD
  EXPECT_EQ(detokenizer.push(0xA0), "\u4f60");
  EXPECT_EQ(detokenizer.push(0xF0), "");
  EXPECT_EQ(detokenizer.push('b'), "\uFFFDb");
  EXPECT_EQ(detokenizer.push(0xE4), "");
  EXPECT_EQ(detokenizer.flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.flush(), "");
}

}  // namespace
}  // namespace fathom
