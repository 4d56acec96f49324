#include "evaluate/text_windows.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"
#include "text/tiny_tokenizer.h"

namespace fathom {
namespace {

constexpr int32_t kBosId = 256;

// Byte b is token b.
TextWindows byte_windows(const std::vector<std::string>& texts, int64_t context,
                         std::optional<int64_t> limit = std::nullopt) {
  std::vector<TokenText> tokens;
  for (const std::string& text : texts) {
    tokens.push_back({"text" + std::to_string(tokens.size()), {text.begin(), text.end()}});
  }
  auto tokenizer = tiny::load(tiny::tokenizer_json());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return TextWindows(std::move(tokenizer).value(), std::move(tokens), context, limit);
}

std::vector<std::string> inputs(const TextWindows& windows) {
  std::vector<std::string> result;
  for (const Window& window : windows.windows()) {
    const std::vector<int32_t> ids = windows.model_input(window);
    EXPECT_EQ(ids[0], kBosId);
    result.emplace_back(ids.begin() + 1, ids.end());
  }
  return result;
}

TEST(TextWindows, CutsEachTextByItself) {
  using Parts = std::vector<std::string>;
  EXPECT_EQ(inputs(byte_windows({"abcdefg", "hi", "jkl"}, 4)), (Parts{"abc", "def", "g", "hi", "jkl"}));
  EXPECT_EQ(inputs(byte_windows({"abc"}, 2)), (Parts{"a", "b", "c"}));
  EXPECT_EQ(inputs(byte_windows({"abc"}, 4)), (Parts{"abc"}));
  EXPECT_EQ(inputs(byte_windows({"abc"}, 512)), (Parts{"abc"}));
}

TEST(TextWindows, TheLimitCountsTokensOfAllTexts) {
  using Parts = std::vector<std::string>;
  EXPECT_EQ(inputs(byte_windows({"abcdefg", "hi"}, 4, 1)), (Parts{"a"}));
  EXPECT_EQ(inputs(byte_windows({"abcdefg", "hi"}, 4, 6)), (Parts{"abc", "def"}));
  EXPECT_EQ(inputs(byte_windows({"abcdefg", "hi"}, 4, 7)), (Parts{"abc", "def", "g"}));
  EXPECT_EQ(inputs(byte_windows({"abcdefg", "hi"}, 4, 8)), (Parts{"abc", "def", "g", "h"}));
  EXPECT_EQ(inputs(byte_windows({"abcdefg", "hi"}, 4, 99)), (Parts{"abc", "def", "g", "hi"}));
}

TEST(TextWindows, EveryTokenOnceAndItsPlace) {
  const std::vector<std::string> texts{"abcdefghijklmnopqrst", "uv"};
  const TextWindows windows = byte_windows(texts, 4);
  EXPECT_EQ(windows.num_tokens(), 22);
  EXPECT_EQ(windows.num_bytes(), 22u);
  int64_t index = 0;
  for (size_t text = 0; text < texts.size(); ++text) {
    for (size_t i = 0; i < texts[text].size(); ++i, ++index) {
      EXPECT_EQ(windows.token(index), texts[text][i]);
      const TokenPlace place = windows.place(index);
      EXPECT_EQ(place.path, "text" + std::to_string(text));
      EXPECT_EQ(place.token, i);
      EXPECT_EQ(place.byte, i);
      EXPECT_EQ(place.before, texts[text].substr(i - std::min<size_t>(i, 12), std::min<size_t>(i, 12)));
      EXPECT_EQ(place.text, texts[text].substr(i, 1));
    }
  }
}

class ReadComparedTexts : public ::testing::Test {
 protected:
  void SetUp() override {
    a_ = model("a", 300, tiny::tokenizer_json());
    text_ = folder_.write("text.txt", "the theme");
  }

  // A folder with a config and a tokenizer, which is all that is read here.
  std::string model(const std::string& name, int64_t vocab_size, const TokenizerJson& tokenizer,
                    int64_t max_positions = 256) {
    ModelConfig config = testing::tiny_config();
    config.vocab_size = vocab_size;
    config.max_position_embeddings = max_positions;
    testing::write_tiny_checkpoint({.config = config, .directory = folder_.file(name)});
    folder_.write(name + "/tokenizer.json", tokenizer.dump());
    folder_.write(name + "/tokenizer_config.json", tiny::config_json().dump());
    return folder_.file(name);
  }

  std::string refusal(const ComparedTexts& options) {
    const auto windows = read_compared_texts(options);
    return windows.ok() ? "" : windows.status().message();
  }
  void expect_refusal(const ComparedTexts& options, const std::vector<std::string>& parts) {
    const std::string message = refusal(options);
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  testing::TempDir folder_;
  std::string a_;
  std::string text_;
};

TEST_F(ReadComparedTexts, TheContextIsAtMostTheShorterModels) {
  const std::string shorter = model("short", 300, tiny::tokenizer_json(), 8);
  const std::string longer = model("long", 300, tiny::tokenizer_json(), 2048);
  const auto context = [&](const std::string& a, const std::string& b) {
    const auto windows = read_compared_texts({.model_a = a, .model_b = b, .files = {text_}});
    return windows.ok() ? windows->context() : -1;
  };
  EXPECT_EQ(context(longer, longer), 512);
  EXPECT_EQ(context(a_, longer), 256);
  EXPECT_EQ(context(a_, shorter), 8);
  EXPECT_EQ(context(shorter, a_), 8);
  EXPECT_EQ(refusal({.model_a = a_, .model_b = shorter, .files = {text_}, .context = 8}), "");
  expect_refusal({.model_a = a_, .model_b = shorter, .files = {text_}, .context = 9},
                 {"--context", "9", "8", shorter});
  expect_refusal({.model_a = a_, .model_b = a_, .files = {text_}, .context = 1}, {"--context", "1"});
  expect_refusal({.model_a = a_, .model_b = a_, .files = {text_}, .limit = 0}, {"--limit", "0"});
}

TEST_F(ReadComparedTexts, RefusesModelsThatPredictOtherTokens) {
  const std::string wider = model("wide", 301, tiny::tokenizer_json());
  expect_refusal({.model_a = a_, .model_b = wider, .files = {text_}},
                 {a_, wider, "300", "301", "vocab_size"});
  // "th" is one token for the other; BOS stands where it stood.
  TokenizerJson merging = tiny::tokenizer_json({{"t", "h"}});
  const std::string merged = model("merged", 300, merging);
  expect_refusal({.model_a = a_, .model_b = merged, .files = {text_}}, {a_, merged, "BOS", "256", "257"});
  merging["model"]["vocab"].erase(tiny::symbols("th"));
  merging["model"]["vocab"][tiny::symbols("th")] = 258;
  merging["added_tokens"][0]["id"] = 256;
  merging["added_tokens"][1]["id"] = 257;
  const std::string same_bos = model("same_bos", 300, merging);
  expect_refusal({.model_a = a_, .model_b = same_bos, .files = {text_}},
                 {text_, a_, same_bos, "differ from token 0", "9 and 7"});
  const std::string untouched = folder_.write("untouched.txt", "xyz");
  EXPECT_EQ(refusal({.model_a = a_, .model_b = same_bos, .files = {untouched}}), "");
}

TEST_F(ReadComparedTexts, RefusesFilesWithoutText) {
  expect_refusal({.model_a = a_, .model_b = a_, .files = {text_, folder_.file("none")}},
                 {folder_.file("none")});
  const std::string empty = folder_.write("empty.txt", "");
  expect_refusal({.model_a = a_, .model_b = a_, .files = {text_, empty}}, {empty, "no text"});
  const std::string broken = folder_.write("broken.txt", "a\xff");
  expect_refusal({.model_a = a_, .model_b = a_, .files = {broken}}, {broken, "UTF-8"});
}

TEST_F(ReadComparedTexts, ATokenizerIsNeeded) {
  std::filesystem::remove(a_ + "/tokenizer.json");
  expect_refusal({.model_a = a_, .model_b = a_, .files = {text_}}, {a_, "tokenizer.json"});
}

}  // namespace
}  // namespace fathom
