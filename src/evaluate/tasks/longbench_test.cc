#include <gtest/gtest.h>

#include <filesystem>

#include "evaluate/pair_encoding.h"
#include "evaluate/task.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

class Longbench : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_.file("longbench/data"));
    std::filesystem::create_directories(folder_.file("longbench/config"));
    folder_.write("longbench/config/dataset2prompt.json",
                  R"({"qasper": "{{{input}}} of {context}:", "samsum": "{context}|{input}"})");
    folder_.write("longbench/config/dataset2maxlen.json", R"({"qasper": 40, "samsum": 30})");
    auto loaded = Tokenizer::load(std::string(FATHOM_SOURCE_DIR) + "/models/demo");
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    tokenizer_ = std::move(*loaded);
  }

  void write_set(const std::string& key, const std::string& lines) {
    folder_.write("longbench/data/" + key + ".jsonl", lines);
  }

  Result<Task> open(const char* name, const std::string& subject, PromptStyle style = PromptStyle::kHarness,
                    int64_t max_model_len = 1000) {
    return open_task(name, {.data_dir = folder_.path(),
                            .style = style,
                            .subjects = {subject},
                            .tokenizer = tokenizer_.get(),
                            .max_model_len = max_model_len});
  }

  TempDir folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

constexpr const char* kLine =
    R"({"input": "Who?", "context": "{input} is text", "answers": ["Ann Lee", "Bob"], "all_classes": null, "length": 5000})"
    "\n";

TEST_F(Longbench, PromptLengthAndBestAnswer) {
  write_set("qasper", kLine);
  const auto task = open("longbench", "qasper");
  ASSERT_TRUE(task.ok()) << task.status().message();
  const Example& example = task->examples[0];
  // Filled in once: what a context holds stays as it is.
  EXPECT_EQ(example.query.prompt, "{Who?} of {input} is text:");
  EXPECT_EQ(example.query.max_tokens, 40);
  EXPECT_EQ(task->subjects[0].name, "longbench_qasper");
  EXPECT_EQ(task->judge(example, {.text = "bob!"})->values, std::vector<double>{1});
  EXPECT_DOUBLE_EQ(task->judge(example, {.text = "Ann"})->values[0], 2 / 3.0);
  const auto modeltest = open("longbench", "qasper", PromptStyle::kModeltest);
  ASSERT_TRUE(modeltest.ok());
  EXPECT_EQ(modeltest->examples[0].query.max_tokens, 256);
}

TEST_F(Longbench, FirstLineCounts) {
  write_set("samsum", kLine);
  const auto task = open("longbench", "samsum");
  ASSERT_TRUE(task.ok()) << task.status().message();
  EXPECT_EQ(task->examples[0].query.until, std::vector<std::string>{"\n"});
  EXPECT_TRUE(task->examples[0].query.is_plain);  // its prompt has examples
  // The original's score of equal texts.
  EXPECT_NEAR(task->judge(task->examples[0], {.text = "\nBob\nand more"})->values[0], 1, 1e-8);
}

TEST_F(Longbench, LongPromptsLoseTheirMiddle) {
  std::string context;
  for (int i = 0; i < 400; ++i) context += fmt::format("w{} ", i);
  write_set("qasper", fmt::format(R"({{"input": "q", "context": "{}", "answers": ["x"]}})", context));
  constexpr int64_t kLength = 240;
  const auto task = open("longbench", "qasper", PromptStyle::kHarness, kLength);
  ASSERT_TRUE(task.ok()) << task.status().message();
  const std::string& prompt = task->examples[0].query.prompt;
  EXPECT_NE(prompt.find("{q} of w0 w1"), std::string::npos);
  EXPECT_NE(prompt.find("w399 :"), std::string::npos);
  EXPECT_EQ(prompt.find("w200 "), std::string::npos);
  const auto ids = encode_prompt(*tokenizer_, prompt);
  ASSERT_TRUE(ids.ok());
  // Two halves of 100, and what joins differently between them.
  EXPECT_LE(ids->size(), 203u);
  EXPECT_NE(open("longbench", "qasper", PromptStyle::kHarness, 41).status().message().find("41"),
            std::string::npos);
}

TEST_F(Longbench, EIsSortedByLength) {
  const std::string lines = R"({"input": "", "context": "", "answers": ["x"], "length": 8000})"
                            "\n"
                            R"({"input": "", "context": "", "answers": ["x"], "length": 3999})"
                            "\n";
  write_set("qasper_e", lines);
  const auto task = open("longbench_e", "qasper");
  ASSERT_TRUE(task.ok()) << task.status().message();
  ASSERT_EQ(task->subjects.size(), 2u);
  EXPECT_EQ(task->subjects[0].alias, "qasper_0-4k");
  EXPECT_EQ(task->subjects[1].alias, "qasper_8k+");
  EXPECT_EQ(task->subjects[1].group, "longbench_e_qasper");
  EXPECT_NE(open("longbench_e", "musique").status().message().find("longbench_e"), std::string::npos);
}

TEST_F(Longbench, BadData) {
  EXPECT_NE(open("longbench", "qasper").status().message().find("longbench/data/qasper.jsonl"),
            std::string::npos);
  EXPECT_NE(open("longbench", "squad").status().message().find("squad"), std::string::npos);
  write_set("qasper", R"({"input": "", "context": "", "answers": "x"})");
  EXPECT_NE(open("longbench", "qasper").status().message().find("answers"), std::string::npos);
  write_set("qasper", R"({"input": "", "context": "", "answers": []})");
  EXPECT_NE(open("longbench", "qasper").status().message().find("line 1"), std::string::npos);
  write_set("lcc", kLine);
  EXPECT_NE(open("longbench", "lcc").status().message().find("no prompt for \"lcc\""), std::string::npos);
}

}  // namespace
}  // namespace fathom::testing
