#include "evaluate/tasks/needle.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "evaluate/plain_text.h"
#include "evaluate/task.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

size_t distance(std::string_view a, std::string_view b) {
  return edit_distance(split_characters(a), split_characters(b));
}

TEST(EditDistance, KnownValues) {
  EXPECT_EQ(distance("kitten", "sitting"), 3u);
  EXPECT_EQ(distance("", "abc"), 3u);
  EXPECT_EQ(distance("abc", ""), 3u);
  EXPECT_EQ(distance("问题", "问"), 1u);
  EXPECT_EQ(distance("same", "same"), 0u);
}

// Values by NeedleBench's published score.
TEST(NeedleScore, KeywordOrLikeness) {
  EXPECT_EQ(needle_score("It is Lantern Bay.", "\nThe place is Lantern Bay.\n", "Lantern Bay"), 1);
  EXPECT_EQ(needle_score("", "abc", "x"), 0);
  EXPECT_DOUBLE_EQ(needle_score("a b c d e", "abcdx", "x"), 0.2 * (1 - 1.0 / 5));
  EXPECT_DOUBLE_EQ(needle_score("abcde" + std::string(1000, 'z'), "abcde", "x"),
                   0.2);  // cut behind the last character
  EXPECT_DOUBLE_EQ(needle_score("", "", "x"), 0.2);
}

TEST(NeedleTask, HidesTheNeedle) {
  const TempDir folder;
  std::filesystem::create_directories(folder.file("needle"));
  std::string texts;
  for (int i = 0; i < 300; ++i)
    texts += "{\"text\": \"The harbour was quiet on day " + std::to_string(i) + ". \"}\n";
  folder.write("needle/PaulGrahamEssays.jsonl", texts);
  folder.write("needle/needles.jsonl",
               "{\"language\": \"English\", \"needle\": \"The bell of Tarn is green.\", "
               "\"retrieval_question\": \"What colour? "
               "Please answer in the format 'It is ___'.\", \"arg2\": \"green\"}\n");
  const auto tokenizer = Tokenizer::load(std::string(FATHOM_SOURCE_DIR) + "/models/demo");
  ASSERT_TRUE(tokenizer.ok());
  TaskOptions options{.data_dir = folder.path(), .tokenizer = tokenizer->get(), .max_model_len = 2300};
  const auto task = open_task("needle", options);
  ASSERT_TRUE(task.ok()) << task.status().message();
  ASSERT_EQ(task->subjects.size(), 22u);  // 1000 and 2000 tokens, eleven depths
  EXPECT_EQ(task->subjects[0].name, "needle_en_1000_depth_0");
  const std::string& first = task->examples[0].query.prompt;
  EXPECT_TRUE(first.starts_with(
      "You are an intelligent AI assistant skilled in answering user questions.\nPlease keep your answers "
      "concise and clear. Do not talk about irrelevant topics or repeat your answers.\nThe document given "
      "to you by the user is \nThe bell of Tarn is green.\nThe harbour"))
      << first.substr(0, 300);
  EXPECT_TRUE(first.ends_with(
      "\n\nNow, the question is: What colour? Before answering, please consider what in the document is most "
      "relevant to this question. Please answer in the format 'It is ___'."))
      << first.substr(first.size() - 300);
  for (const Example& example : task->examples) {
    EXPECT_NE(example.query.prompt.find("\nThe bell of Tarn is green.\n"), std::string::npos);
    EXPECT_LE(tokenizer->get()->encode(example.query.prompt)->size(), example.subject < 11 ? 1000u : 2000u);
  }
  EXPECT_EQ(task->judge(task->examples[0], {.text = "It is green"})->pass, 1);
  options.max_model_len = 1000;
  EXPECT_NE(open_task("needle", options).status().message().find("do not fit into the model's 1000"),
            std::string::npos);
}

}  // namespace
}  // namespace fathom::testing
