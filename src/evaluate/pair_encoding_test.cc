// The harness' tokens of prompts and continuations, with the demo model's tokenizer (which puts BOS first).
#include "evaluate/pair_encoding.h"

#include <gtest/gtest.h>

namespace fathom::testing {
namespace {

class PairEncodingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::load(std::string(FATHOM_SOURCE_DIR) + "/models/demo");
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    tokenizer_ = std::move(loaded).value();
    bos_ = *tokenizer_->bos_id();
  }

  std::vector<int32_t> ids(std::string_view text, AddBos add_bos = AddBos::kNever) {
    return *tokenizer_->encode(text, {.add_bos = add_bos});
  }
  MeasuredTokens pair(std::string_view context, std::string_view continuation, size_t max_tokens = 1000) {
    const auto tokens = encode_pair(*tokenizer_, context, continuation, max_tokens);
    EXPECT_TRUE(tokens.ok()) << tokens.status().message();
    return tokens.ok() ? *tokens : MeasuredTokens();
  }
  std::string measured(const MeasuredTokens& tokens) {
    return tokenizer_->decode(std::span(tokens.ids).subspan(tokens.first));
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  int32_t bos_ = 0;
};

TEST_F(PairEncodingTest, BeginsWithBosOnce) {
  EXPECT_EQ(*encode_prompt(*tokenizer_, "The house"), ids("The house", AddBos::kAlways));
  const std::string with_bos = std::string(tokenizer_->spelling(bos_)) + "The house";
  EXPECT_EQ(*encode_prompt(*tokenizer_, with_bos), ids("The house", AddBos::kAlways));
}

TEST_F(PairEncodingTest, TheContinuationIsWhatIsMore) {
  const MeasuredTokens tokens = pair("Answer:", " yes");
  EXPECT_EQ(tokens.ids, ids("Answer: yes", AddBos::kAlways));
  EXPECT_EQ(tokens.first, ids("Answer:", AddBos::kAlways).size());
  EXPECT_EQ(measured(tokens), " yes");
}

TEST_F(PairEncodingTest, WhiteSpaceAtTheContextsEndBelongsToTheContinuation) {
  EXPECT_EQ(measured(pair("Answer: \n", "yes")), " \nyes");
  EXPECT_EQ(pair("Answer: ", "yes").ids, pair("Answer:", " yes").ids);
}

// Where both together are cut otherwise than the context alone, the context keeps its own tokens.
TEST_F(PairEncodingTest, TokensAcrossTheBorder) {
  const std::string context = "hous", continuation = "e";
  const auto head = ids(context, AddBos::kAlways), whole = ids(context + continuation, AddBos::kAlways);
  ASSERT_LT(whole.size(), head.size() + 1);  // else this tests nothing
  EXPECT_EQ(encode_pair(*tokenizer_, context, continuation, 1000).status().message(),
            "the continuation \"e\" adds no token to its prompt");
}

TEST_F(PairEncodingTest, AnEmptyContextIsBos) {
  const MeasuredTokens tokens = pair("", " yes");
  EXPECT_EQ(tokens.first, 1u);
  EXPECT_EQ(tokens.ids[0], bos_);
  EXPECT_EQ(measured(tokens), " yes");
  EXPECT_FALSE(encode_pair(*tokenizer_, "", "", 10).ok());
}

TEST_F(PairEncodingTest, LongPromptsLoseTheirBeginning) {
  const MeasuredTokens all = pair("one two three four five six", " seven eight");
  const MeasuredTokens cut = pair("one two three four five six", " seven eight", all.ids.size() - 3);
  EXPECT_EQ(cut.ids, std::vector<int32_t>(all.ids.begin() + 3, all.ids.end()));
  EXPECT_EQ(measured(cut), measured(all));
  const size_t num_measured = all.ids.size() - all.first;
  EXPECT_EQ(pair("one two", " seven eight", num_measured + 1).first, 1u);
  EXPECT_FALSE(encode_pair(*tokenizer_, "one two", " seven eight", num_measured).ok());
}

TEST_F(PairEncodingTest, WindowsMeasureEachTokenOnce) {
  const std::string text =
      "The old house stood at the end of the lane, and nobody had lived in it for years.";
  const auto all = ids(text, AddBos::kAlways);
  for (size_t max_tokens : {size_t{1}, size_t{2}, size_t{5}, all.size() - 1, all.size(), all.size() + 1}) {
    const auto windows = encode_windows(*tokenizer_, text, max_tokens);
    ASSERT_TRUE(windows.ok());
    std::vector<int32_t> joined;
    for (size_t i = 0; i < windows->size(); ++i) {
      const MeasuredTokens& window = (*windows)[i];
      const size_t before = joined.size();
      joined.insert(joined.end(), window.ids.begin() + static_cast<std::ptrdiff_t>(window.first),
                    window.ids.end());
      if (i == 0) {
        EXPECT_EQ(std::vector<int32_t>(window.ids.begin(), window.ids.begin() + 1),
                  std::vector<int32_t>{bos_});
      } else {
        EXPECT_EQ(window.ids.size(), max_tokens + 1);  // the last one too
        const auto end = all.begin() + static_cast<std::ptrdiff_t>(before);
        EXPECT_EQ(std::vector<int32_t>(window.ids.begin(),
                                       window.ids.begin() + static_cast<std::ptrdiff_t>(window.first)),
                  std::vector<int32_t>(end - static_cast<std::ptrdiff_t>(window.first), end));
      }
    }
    EXPECT_EQ(joined, all) << max_tokens;
  }
}

}  // namespace
}  // namespace fathom::testing
