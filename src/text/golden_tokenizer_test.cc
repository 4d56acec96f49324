// The real DeepSeek-V2 tokenizer against ids and texts that Hugging Face's tokenizers made
// (tests/golden/text).
#include <gtest/gtest.h>

#include <sstream>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "text/chat_template.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

const std::string kModel = std::string(FATHOM_SOURCE_DIR) + "/../shared/data/tokenizer/deepseek-v2";
const std::string kGoldens = std::string(FATHOM_SOURCE_DIR) + "/tests/golden/text/";

class GoldenTokenizer : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!file_exists(kModel + "/tokenizer.json")) GTEST_SKIP() << "needs " << kModel << "/tokenizer.json";
    auto loaded = Tokenizer::load(kModel);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    tokenizer_ = std::move(loaded).value();
  }

  static std::vector<Json> rows(const std::string& name) {
    std::vector<Json> rows;
    const auto content = read_file(kGoldens + name, size_t{256} << 20);
    EXPECT_TRUE(content.ok()) << content.status().message();
    if (!content.ok()) return rows;
    std::istringstream lines(*content);
    for (std::string line; std::getline(lines, line);) {
      rows.push_back(*parse_json(line, name, {.max_bytes = size_t{64} << 20}));
    }
    return rows;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(GoldenTokenizer, Facts) {
  EXPECT_EQ(tokenizer_->vocab_size(), 100002);
  EXPECT_EQ(tokenizer_->bos_id(), 100000);
  EXPECT_EQ(tokenizer_->eos_id(), 100001);
  EXPECT_TRUE(tokenizer_->adds_bos());
}

TEST_F(GoldenTokenizer, EncodesAsHuggingFace) {
  const std::vector<Json> all = rows("tokenizer_deepseek_v2.jsonl");
  EXPECT_GE(all.size(), 100u);
  for (const Json& row : all) {
    const std::string text = row["text"];
    const std::vector<int32_t> expected = row["ids"];
    const auto ids = tokenizer_->encode(text, {.add_bos = AddBos::kNever});
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    ASSERT_EQ(*ids, expected) << dump_json(row["text"]);
    ASSERT_EQ(tokenizer_->decode(*ids), text);
    const auto plain =
        tokenizer_->encode(text, {.add_bos = AddBos::kNever, .special = SpecialInText::kAsText});
    const std::vector<int32_t> expected_plain = row.contains("plain_ids") ? row["plain_ids"] : row["ids"];
    ASSERT_EQ(*plain, expected_plain) << dump_json(row["text"]);
  }
}

TEST_F(GoldenTokenizer, DecodesAsHuggingFace) {
  for (const Json& row : rows("detokenizer_deepseek_v2.jsonl")) {
    const std::vector<int32_t> ids = row["ids"];
    EXPECT_EQ(tokenizer_->decode(ids), row["text"].get<std::string>()) << dump_json(row["ids"]);
    EXPECT_EQ(tokenizer_->decode(ids, SpecialInOutput::kSkip),
              row["text_without_special"].get<std::string>());
    Detokenizer detokenizer(*tokenizer_, SpecialInOutput::kKeep);
    std::string streamed;
    for (const int32_t id : ids) streamed += detokenizer.push(id);
    EXPECT_EQ(streamed + detokenizer.flush(), row["text"].get<std::string>());
  }
}

// One piece of 131,072 letters, and runs that patterns could try from every position. The generous limit
// tells a quadratic algorithm (minutes) from a linear one (milliseconds).
TEST_F(GoldenTokenizer, LongRunsTakeLittleTime) {
  const double started = monotonic_seconds();
  const size_t size = 131'072;
  const std::string spaces(size, ' ');
  for (const std::string& text : {std::string(size, 'Z'), spaces, spaces + "一", spaces + "1",
                                  std::string(size, '\n'), std::string(size, '!'), std::string(size, '1')}) {
    const auto ids = tokenizer_->encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(tokenizer_->decode(*ids, SpecialInOutput::kSkip), text);
  }
  EXPECT_LT(monotonic_seconds() - started, 20);
}

TEST_F(GoldenTokenizer, ShippedChatTemplate) {
  const auto chat_template = ChatTemplate::load(kModel);
  ASSERT_TRUE(chat_template.ok()) << chat_template.status().message();
  const Json messages = {{{"role", "system"}, {"content", "Be brief."}},
                         {{"role", "user"}, {"content", "Hello"}},
                         {{"role", "assistant"}, {"content", "Hi"}},
                         {{"role", "user"}, {"content", "Bye"}}};
  const std::string bos = "<｜begin▁of▁sentence｜>";
  const std::string eos = "<｜end▁of▁sentence｜>";
  const auto prompt = (*chat_template)->render(messages);
  ASSERT_TRUE(prompt.ok()) << prompt.status().message();
  EXPECT_EQ(*prompt, bos + "Be brief.\n\nUser: Hello\n\nAssistant: Hi" + eos + "User: Bye\n\nAssistant:");
  ChatTemplateOptions options;
  options.generation_prompt = GenerationPrompt::kOmit;
  const auto open = (*chat_template)->render(messages, options);
  EXPECT_EQ(*open, bos + "Be brief.\n\nUser: Hello\n\nAssistant: Hi" + eos + "User: Bye\n\n");
}

}  // namespace
}  // namespace fathom
