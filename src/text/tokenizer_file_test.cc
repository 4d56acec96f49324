// Malformed tokenizer files: each is refused with one line that names file and field.
#include <gtest/gtest.h>

#include "text/tiny_tokenizer.h"

namespace fathom {
namespace {

std::string error_of(const TokenizerJson& document, const TokenizerJson& config = tiny::config_json()) {
  const auto result = tiny::load(document, config);
  return result.ok() ? "loaded" : result.status().message();
}

// The error after one change to a good file.
template <typename Change>
std::string error_after(Change change) {
  TokenizerJson document = tiny::tokenizer_json({{"a", "b"}, {"ab", "c"}});
  change(document);
  return error_of(document);
}

TEST(TokenizerFile, TheUnchangedFileLoads) {
  EXPECT_EQ(error_after([](TokenizerJson&) {}), "loaded");
}

TEST(TokenizerFile, Ids) {
  const auto with_id = [](const TokenizerJson& id) {
    return error_after([&](TokenizerJson& document) { document["model"]["vocab"]["a"] = id; });
  };
  EXPECT_EQ(with_id(-1), "tokenizer.json: model.vocab[\"a\"]: id -1 is outside [0, 260)");
  EXPECT_EQ(with_id(260), "tokenizer.json: model.vocab[\"a\"]: id 260 is outside [0, 260)");
  EXPECT_EQ(with_id(4294967393), "tokenizer.json: model.vocab[\"a\"]: id 4294967393 is outside [0, 260)");
  EXPECT_EQ(with_id(18446744073709551615u),
            "tokenizer.json: model.vocab[\"a\"]: id 18446744073709551615 is outside [0, 260)");
  EXPECT_EQ(with_id(1.5), "tokenizer.json: model.vocab[\"a\"]: id is not an integer");
  EXPECT_EQ(with_id("7"), "tokenizer.json: model.vocab[\"a\"]: id is not an integer");
  EXPECT_EQ(with_id(nullptr), "tokenizer.json: model.vocab[\"a\"]: id is not an integer");
  EXPECT_EQ(with_id(98), "tokenizer.json: model.vocab[\"b\"]: id 98 of token \"b\" is also the id of \"a\"");
  EXPECT_EQ(error_after([](TokenizerJson& document) { document["model"]["vocab"].erase("z"); }),
            "tokenizer.json: added_tokens[1]: id 259 is outside [0, 259)");
  EXPECT_EQ(error_after([](TokenizerJson& document) {
              document["model"]["vocab"].erase("z");
              document["added_tokens"].erase(1);
            }).find("tokenizer.json: added_tokens[0]: id 258 is outside [0, 258)"),
            0u);
}

TEST(TokenizerFile, HolesInTheIds) {
  EXPECT_EQ(error_after([](TokenizerJson& document) {
              document["model"]["vocab"].erase("z");
              document["added_tokens"][0]["content"] = "a";  // no token of its own
              document["added_tokens"][0]["id"] = 97;
              document["added_tokens"][1]["id"] = 258;
            }),
            "tokenizer.json: model.vocab: no token has the id 122, though ids go up to 258");
}

TEST(TokenizerFile, AddedTokens) {
  const auto with = [](const char* key, const TokenizerJson& value) {
    return error_after([&](TokenizerJson& document) { document["added_tokens"][1][key] = value; });
  };
  EXPECT_EQ(with("id", -3), "tokenizer.json: added_tokens[1]: id -3 is outside [0, 260)");
  EXPECT_EQ(with("id", 258), "tokenizer.json: added_tokens[1]: id 258 occurs twice");
  EXPECT_EQ(with("id", 5).find("tokenizer.json: added_tokens[1]: id 5 of token"), 0u);
  EXPECT_EQ(with("content", ""), "tokenizer.json: added_tokens[1].content: empty token");
  EXPECT_EQ(with("content", 1), "tokenizer.json: added_tokens[1].content: not a string");
  EXPECT_EQ(with("special", "yes"), "tokenizer.json: added_tokens[1].special: not true or false");
  EXPECT_EQ(
      with("content", tiny::kBos).find("tokenizer.json: model.vocab: token \"<｜begin｜>\" has two ids"), 0u);
  EXPECT_EQ(error_after([](TokenizerJson& document) { document["added_tokens"] = 3; }),
            "tokenizer.json: added_tokens: not an array");
}

TEST(TokenizerFile, Merges) {
  const auto with = [](const TokenizerJson& merge) {
    return error_after([&](TokenizerJson& document) { document["model"]["merges"][1] = merge; });
  };
  EXPECT_EQ(with("zz c"), "tokenizer.json: model.merges[1]: \"zz\" is not in model.vocab");
  EXPECT_EQ(with("c zz"), "tokenizer.json: model.merges[1]: \"zz\" is not in model.vocab");
  EXPECT_EQ(with("b c"), "tokenizer.json: model.merges[1]: \"bc\" is not in model.vocab");
  EXPECT_EQ(with("abc"), "tokenizer.json: model.merges[1]: \"abc\" is not two tokens with one space between");
  EXPECT_EQ(with("a b c"),
            "tokenizer.json: model.merges[1]: \"a b c\" is not two tokens with one space between");
  EXPECT_EQ(with({"a", "b", "c"}), "tokenizer.json: model.merges[1]: neither a string nor a pair of strings");
  EXPECT_EQ(with(7), "tokenizer.json: model.merges[1]: neither a string nor a pair of strings");
  EXPECT_EQ(with("a b"), "tokenizer.json: model.merges[1]: the pair \"a\" \"b\" occurs twice");
  EXPECT_EQ(with({"ab", "c"}), "loaded");
  EXPECT_EQ(error_after([](TokenizerJson& document) { document["model"].erase("merges"); }),
            "tokenizer.json: model.merges: missing");
}

TEST(TokenizerFile, WhatIsNotSupportedIsSaid) {
  const auto with = [](const char* path, const TokenizerJson& value) {
    return error_after([&](TokenizerJson& document) { document[TokenizerJson::json_pointer(path)] = value; });
  };
  EXPECT_EQ(with("/model/type", "Unigram"),
            "tokenizer.json: model.type: \"Unigram\" is not supported (\"BPE\" is)");
  EXPECT_EQ(with("/model/unk_token", "<unk>"),
            "tokenizer.json: model.unk_token: \"<unk>\" is not supported (null is)");
  EXPECT_EQ(with("/model/dropout", 0.1), "tokenizer.json: model.dropout: 0.1 is not supported (null is)");
  EXPECT_EQ(with("/model/byte_fallback", true), "tokenizer.json: model.byte_fallback: true is not supported");
  EXPECT_EQ(with("/normalizer", {{"type", "NFC"}}),
            "tokenizer.json: normalizer: \"NFC\" is not supported (none or an empty Sequence is)");
  EXPECT_EQ(with("/decoder/type", "Metaspace"),
            "tokenizer.json: decoder.type: \"Metaspace\" is not supported (\"ByteLevel\" is)");
  EXPECT_EQ(with("/post_processor/type", "BertProcessing"),
            "tokenizer.json: post_processor.type: \"BertProcessing\" is not supported (ByteLevel and "
            "TemplateProcessing are)");
  EXPECT_EQ(with("/pre_tokenizer", nullptr), "tokenizer.json: pre_tokenizer: not an object");
  EXPECT_EQ(with("/model", TokenizerJson::array()), "tokenizer.json: model: not an object");
  EXPECT_EQ(with("/model/vocab", TokenizerJson::object()),
            "tokenizer.json: model.vocab: 0 tokens, not in [1, 16777216]");
  EXPECT_EQ(with("/normalizer", nullptr), "loaded");
}

TEST(TokenizerFile, NotJson) {
  const auto error = [](std::string_view text) { return Tokenizer::parse(text, "{}").status().message(); };
  EXPECT_EQ(error("").find("tokenizer.json: not valid JSON: "), 0u);
  EXPECT_EQ(error("[]"), "tokenizer.json: not an object");
  EXPECT_EQ(error("{\"a\": 1, \"a\": 2}"), "tokenizer.json: JSON key \"a\" occurs twice in one object");
  EXPECT_EQ(error("{\"model\": {\"vocab\": {\"x\": 1, \"x\": 2}}}"),
            "tokenizer.json: JSON key \"x\" occurs twice in one object");
  EXPECT_EQ(error(std::string(1 << 20, '[')),
            "tokenizer.json: JSON is nested deeper than the limit of 128 levels");
  EXPECT_EQ(error(std::string(1 << 20, '{')).find("tokenizer.json: not valid JSON: "), 0u);
  EXPECT_FALSE(Tokenizer::parse("{\"a\": \"\xff\"}", "{}").ok());
}

TEST(TokenizerFile, DepthLimitIsExact) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_tokenizer_json(nested(128), "x").ok());
  EXPECT_FALSE(parse_tokenizer_json(nested(129), "x").ok());
}

TEST(TokenizerFile, Config) {
  const auto with = [](const char* key, const TokenizerJson& value) {
    TokenizerJson config = tiny::config_json();
    config[key] = value;
    return error_of(tiny::tokenizer_json(), config);
  };
  EXPECT_EQ(with("bos_token", "<none>"),
            "tokenizer_config.json: bos_token: tokenizer.json has no token \"<none>\"");
  EXPECT_EQ(with("bos_token", nullptr), "tokenizer_config.json: add_bos_token is true without a bos_token");
  EXPECT_EQ(with("bos_token", 5), "tokenizer_config.json: bos_token: not an object");
  EXPECT_EQ(with("add_bos_token", "yes"), "tokenizer_config.json: add_bos_token: not true or false");
  EXPECT_EQ(with("add_eos_token", true), "tokenizer_config.json: add_eos_token: true is not supported");
  EXPECT_EQ(error_of(tiny::tokenizer_json(), TokenizerJson::array()), "tokenizer_config.json: not an object");
}

TEST(TokenizerFile, LoadNamesTheMissingFile) {
  const auto result = Tokenizer::load("/nonexistent");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(result.status().message(), "/nonexistent/tokenizer.json: no such file");
}

// Every prefix and many one-byte changes of a good file: an error or a tokenizer, never a crash.
TEST(TokenizerFile, DamagedFilesNeverCrash) {
  const std::string good = tiny::tokenizer_json({{"a", "b"}}).dump();
  for (size_t length = 0; length < good.size(); length += 29) {
    EXPECT_FALSE(Tokenizer::parse(good.substr(0, length), "{}").ok());
  }
  for (size_t at = 0; at < good.size(); at += 17) {
    for (const char c : {'"', '0', '-', '{', '\xff', ' '}) {
      std::string bad = good;
      bad[at] = c;
      const auto result = Tokenizer::parse(bad, "{}");
      if (result.ok()) {
        EXPECT_TRUE((*result)->encode("abc 1 \u4f60").ok());
      }
    }
  }
}

}  // namespace
}  // namespace fathom
