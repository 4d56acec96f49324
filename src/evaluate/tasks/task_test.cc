// Each task from its files to its prompts, byte for byte, and its judge. The expected prompts of style
// harness are what lm-evaluation-harness 0.4.13 makes of the same questions; those of modeltest follow its
// published sources.
#include "evaluate/task.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

class TaskTest : public ::testing::Test {
 protected:
  void write(const std::string& name, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(folder_.file(name)).parent_path());
    folder_.write(name, text);
  }

  TaskOptions options(PromptStyle style = PromptStyle::kHarness) const {
    return {.data_dir = folder_.path(), .style = style, .tokenizer = nullptr, .max_model_len = 4096};
  }

  Task open(std::string_view name, const TaskOptions& options) {
    auto task = open_task(name, options);
    EXPECT_TRUE(task.ok()) << task.status().message();
    return task.ok() ? std::move(task).value() : Task();
  }

  std::string error(std::string_view name, const TaskOptions& options) {
    return open_task(name, options).status().message();
  }

  static Score judge(const Task& task, size_t example, const fathom::Answer& answer) {
    const auto score = task.judge(task.examples[example], answer);
    EXPECT_TRUE(score.ok()) << score.status().message();
    return *score;
  }

  void write_exam(const std::string& folder, const std::string& suffixed_dev,
                  const std::string& suffixed_questions, const std::string& header) {
    write(folder + "/dev/" + suffixed_dev, header + "0,\"一, 二？\",甲,乙,丙,丁,B\n1,三 ,a,b,c,d,D\n");
    write(folder + "/" + suffixed_questions, header + "0, 问？ ,1,2,3,4,C\n1,q2,w,x,y,z,A\n");
  }

  TempDir folder_;
};

constexpr auto kModeltest = PromptStyle::kModeltest;
const std::vector<std::string> kLetterChoices = {" A", " B", " C", " D"};

TEST_F(TaskTest, BoolqHarness) {
  write("boolq/dev.jsonl",
        "{\"question\": \"is it so\", \"passage\": \"P.\", \"answer\": true, \"title\": \"T\"}\n\n"
        "{\"question\": \"q\", \"passage\": \"Two\", \"answer\": false}\n");
  const Task task = open("boolq", options());
  ASSERT_EQ(task.examples.size(), 2u);
  EXPECT_EQ(task.examples[0].query.prompt, "P.\nQuestion: is it so?\nAnswer:");
  EXPECT_EQ(task.examples[0].query.choices, (std::vector<std::string>{" no", " yes"}));
  EXPECT_EQ(task.examples[0].query.kind, QueryKind::kContinuations);
  EXPECT_EQ(judge(task, 0, {.logprobs = {-2, -1}}).values, std::vector<double>{1});
  EXPECT_EQ(judge(task, 1, {.logprobs = {-2, -1}}).values, std::vector<double>{0});
}

TEST_F(TaskTest, BoolqModeltest) {
  write("boolq_dev.jsonl",
        "{\"question\": \"is it so\", \"passage\": \"P.\", \"answer\": true, \"title\": \"T\"}\n"
        "{\"question\": \"q\", \"passage\": \"Two\", \"answer\": false}\n");
  TaskOptions with = options(kModeltest);
  with.limit = 2;
  const Task task = open("boolq", with);
  EXPECT_EQ(task.examples[0].query.prompt, "T -- P.\nQuestion: is it so?\nAnswer:");
  EXPECT_EQ(task.examples[1].query.prompt, "Two\nQuestion: q?\nAnswer:");
  EXPECT_EQ(task.examples[0].query.kind, QueryKind::kNextToken);
  EXPECT_EQ(task.examples[0].query.choices,
            (std::vector<std::string>{"How can we learning machine learning: no",
                                      "How can we learning machine learning: yes"}));
  EXPECT_EQ(judge(task, 1, {.logprobs = {-1, -1}}).result, "False");  // yes has to be likelier
}

TEST_F(TaskTest, BoolqErrors) {
  EXPECT_EQ(error("boolq", options()),
            "BoolQ: boolq/dev.jsonl or boolq_dev.jsonl or boolq/boolq_dev.jsonl is not in --data " +
                folder_.path() +
                "; wanted is one JSON object a line with \"question\", \"passage\", \"answer\" (true or "
                "false), and maybe "
                "\"title\"; it is published as dev.jsonl of google-research-datasets/boolean-questions");
  for (const auto& [text, part] :
       {std::pair{"{\"question\": \"q\"}", "no field \"passage\""},
        {"{\"question\": \"q\", \"passage\": 1}", "\"passage\" is not a string"},
        {"{\"question\": \"q\", \"passage\": \"p\", \"answer\": 1}", "neither true nor false"},
        {"[1]", "line 1: not a JSON object"},
        {"{\"question\"", "line 1"},
        {"\n", "no line"}}) {
    write("boolq/dev.jsonl", text);
    const std::string message = error("boolq", options());
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find("boolean-questions"), std::string::npos) << message;
  }
  TaskOptions with = options();
  with.num_shots = 5;
  EXPECT_EQ(error("boolq", with), "--shots: boolq has none, 5 are wanted");
}

TEST_F(TaskTest, CevalHarness) {
  write_exam("ceval", "law_dev.csv", "val/law_val.csv", "id,question,A,B,C,D,answer\n");
  TaskOptions with = options();
  with.subjects = {"law"};
  with.num_shots = 2;
  with.limit = 1;
  const Task task = open("ceval", with);
  ASSERT_EQ(task.examples.size(), 1u);
  EXPECT_EQ(task.subjects[0].name, "ceval-valid_law");
  EXPECT_EQ(task.subjects[0].num_available, 2);
  EXPECT_EQ(task.examples[0].query.prompt,
            "以下是中国关于法学的单项选择题，请选出其中的正确答案。\n\n"
            "一, 二？\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案： B\n\n"
            "三\nA. a\nB. b\nC. c\nD. d\n答案： D\n\n"
            "问？\nA. 1\nB. 2\nC. 3\nD. 4\n答案：");
  EXPECT_EQ(task.examples[0].query.choices, kLetterChoices);
  EXPECT_EQ(judge(task, 0, {.logprobs = {-2, -3, -1, -1}}).values, (std::vector<double>{1, 1}));
}

// "role: content" of each turn.
std::vector<std::string> turns_of(const Query& query) {
  std::vector<std::string> turns;
  for (const ChatTurn& turn : query.turns) turns.push_back(turn.role + ": " + turn.content);
  return turns;
}

TEST_F(TaskTest, CevalModeltest) {
  write_exam("ceval", "high_school_physics_dev.csv", "val/high_school_physics_val.csv",
             "id,question,A,B,C,D,answer\n");
  TaskOptions with = options(kModeltest);
  with.subjects = {"high_school_physics"};
  with.num_shots = 1;
  Task task = open("ceval", with);
  EXPECT_EQ(task.examples[0].query.prompt,
            "The following are multiple choice questions (with answers) about  high school physics.\n\n"
            "一, 二？\nA. 甲\nB. 乙\nC. 丙\nD. 丁\nAnswer: B\n\n"
            " 问？ \nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:");
  EXPECT_EQ(
      turns_of(task.examples[0].query),
      (std::vector<std::string>{
          "system: The following are multiple choice questions (with answers) about  high school physics.",
          "user: 一, 二？\nA. 甲\nB. 乙\nC. 丙\nD. 丁\nAnswer:", "assistant: B",
          "user:  问？ \nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"}));
  EXPECT_EQ(task.examples[0].query.max_tokens, 20);
  EXPECT_EQ(judge(task, 0, {.text = " C. 3"}).pass, 1);
  EXPECT_EQ(judge(task, 0, {.text = ""}).pass, 0);
  with.num_shots = 0;
  task = open("ceval", with);
  EXPECT_EQ(
      task.examples[0].query.prompt,
      "\n以下是中国关于高中物理考试的单项选择题，请选出其中的正确答案。\n 问？ \nA. 1\nB. 2\nC. 3\nD. 4\n"
      "让我们一步一步思考。答案: ");
  EXPECT_TRUE(task.examples[0].query.turns.empty());
  EXPECT_EQ(task.examples[0].query.max_tokens, 256);
  EXPECT_EQ(judge(task, 0, {.text = "首先排除A。答案是C"}).pass, 1);
}

TEST_F(TaskTest, CmmluHarness) {
  write_exam("cmmlu", "anatomy.csv", "test/anatomy.csv", ",Question,A,B,C,D,Answer\n");
  TaskOptions with = options();
  with.subjects = {"anatomy"};
  with.num_shots = 1;
  const Task task = open("cmmlu", with);
  EXPECT_EQ(task.examples[1].query.prompt,
            "以下是关于解剖学的单项选择题，请直接给出正确答案的选项。\n\n"
            "一, 二？\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案： B\n\n"
            "q2\nA. w\nB. x\nC. y\nD. z\n答案：");
  EXPECT_EQ(task.metrics.size(), 2u);
}

TEST_F(TaskTest, CmmluModeltest) {
  write_exam("cmmlu", "anatomy.csv", "test/anatomy.csv", ",Question,A,B,C,D,Answer\n");
  const auto tokenizer = Tokenizer::load(std::string(FATHOM_SOURCE_DIR) + "/models/demo");
  ASSERT_TRUE(tokenizer.ok());
  TaskOptions with = options(kModeltest);
  with.tokenizer = tokenizer->get();
  with.subjects = {"anatomy"};
  with.num_shots = 2;
  Task task = open("cmmlu", with);
  const std::string header = "以下是关于解剖学的单项选择题，请直接给出正确答案的选项。\n\n";
  const std::string shots =
      "题目：一, 二？\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案是：B\n\n题目：三 \nA. a\nB. b\nC. c\nD. "
      "d\n答案是：D\n\n";
  const std::string item = "题目：q2\nA. w\nB. x\nC. y\nD. z\n答案是：";
  EXPECT_EQ(task.examples[1].query.prompt, header + shots + item);
  EXPECT_EQ(task.examples[1].query.kind, QueryKind::kNextToken);
  EXPECT_EQ(turns_of(task.examples[1].query).size(), 6u);
  EXPECT_EQ(turns_of(task.examples[1].query)[4], "assistant: D");
  // An example of 3000 tokens is left out, a question of as many stands alone.
  std::string lengthy;
  for (int i = 0; i < 3000; ++i) lengthy += "问";
  write("cmmlu/dev/anatomy.csv",
        ",Question,A,B,C,D,Answer\n0," + lengthy + ",a,b,c,d,A\n1,\"一, 二？\",甲,乙,丙,丁,B\n");
  task = open("cmmlu", with);
  EXPECT_EQ(task.examples[1].query.prompt,
            header + "题目：一, 二？\nA. 甲\nB. 乙\nC. 丙\nD. 丁\n答案是：B\n\n" + item);
  write("cmmlu/test/anatomy.csv", ",Question,A,B,C,D,Answer\n0," + lengthy + ",a,b,c,d,A\n");
  task = open("cmmlu", with);
  EXPECT_EQ(task.examples[0].query.prompt, "题目：" + lengthy + "\nA. a\nB. b\nC. c\nD. d\n答案是：");
}

TEST_F(TaskTest, Mmlu) {
  write("mmlu/dev/college_physics_dev.csv", "\"What, then?\",1,2,3,4,D\n");
  write("mmlu/test/college_physics_test.csv", " Why? ,1,2,3,4,A\n");
  TaskOptions with = options();
  with.subjects = {"college_physics"};
  with.num_shots = 1;
  Task task = open("mmlu", with);
  EXPECT_EQ(task.examples[0].query.prompt,
            "The following are multiple choice questions (with answers) about college physics.\n\n"
            "What, then?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: D\n\n"
            "Why?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:");
  EXPECT_EQ(task.subjects[0].group, "mmlu_stem");
  with = options(kModeltest);
  with.subjects = {"college_physics"};
  with.num_shots = 0;
  task = open("mmlu", with);
  EXPECT_EQ(task.examples[0].query.prompt,
            "\nThere is a single choice question about college physics. Answer the question by replying A, "
            "B, C or D.\n"
            " Why? \nA. 1\nB. 2\nC. 3\nD. 4\nLet's think step by step. Answer: ");
}

TEST_F(TaskTest, ExamErrors) {
  write_exam("ceval", "law_dev.csv", "val/law_val.csv", "id,question,A,B,C,D,answer\n");
  TaskOptions with = options();
  EXPECT_NE(error("ceval", with).find("ceval/val/computer_network_val.csv is not in --data"),
            std::string::npos);
  with.subjects = {"astrology"};
  EXPECT_EQ(error("ceval", with), "--tasks: no subject \"astrology\"; computer_network is one");
  with.subjects = {"law"};
  with.num_shots = 3;
  EXPECT_EQ(error("ceval", with),
            "--shots: 3 are wanted and " + folder_.file("ceval/dev/law_dev.csv") + " has 2");
  with.num_shots = 0;
  for (const auto& [text, part] :
       {std::pair{"id,question,A,B,C,D\n", "no column \"answer\""},
        {"id,question,A,B,C,D,answer\n0,q,1,2,3,4,E\n", "row 2: the answer \"E\" is none of A, B, C, D"},
        {"id,question,A,B,C,D,answer\n0,q,1,2\n", "row 2: 4 columns, 7 are needed"},
        {"id,question,A,B,C,D,answer\n", "no question"},
        {"id,\"question", "a quoted field does not end"}}) {
    write("ceval/val/law_val.csv", text);
    const std::string message = error("ceval", with);
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find("hkust-nlp/ceval"), std::string::npos) << message;
  }
}

TEST_F(TaskTest, Gsm8k) {
  write("gsm8k/test.jsonl", "{\"question\": \"How many?\", \"answer\": \"2+2=4\\n#### 1,004\"}\n");
  write("gsm8k/train.jsonl", "{\"question\": \"One?\", \"answer\": \"It is.\\n#### 1\"}\n");
  TaskOptions with = options();
  EXPECT_NE(error("gsm8k", with).find("--shots: 5 are wanted"), std::string::npos);
  with.num_shots = 1;
  Task task = open("gsm8k", with);
  EXPECT_EQ(task.examples[0].query.prompt,
            "Question: One?\nAnswer: It is.\n#### 1\n\nQuestion: How many?\nAnswer:");
  EXPECT_EQ(task.examples[0].query.until, (std::vector<std::string>{"Question:", "</s>", "<|im_end|>"}));
  EXPECT_EQ(task.examples[0].query.max_tokens, 256);
  EXPECT_EQ(judge(task, 0, {.text = " So #### 1004"}).values, (std::vector<double>{1, 1}));
  EXPECT_EQ(judge(task, 0, {.text = " So $1,004."}).values, (std::vector<double>{0, 1}));
  EXPECT_EQ(judge(task, 0, {.text = "#### 1004 and 5"}).values, (std::vector<double>{1, 0}));
  EXPECT_EQ(judge(task, 0, {.text = ""}).values, (std::vector<double>{0, 0}));
  task = open("gsm8k", options(kModeltest));
  EXPECT_EQ(task.examples[0].query.prompt, "How many?");
  EXPECT_EQ(task.examples[0].query.max_tokens, 512);
  EXPECT_EQ(judge(task, 0, {.text = "1004.00"}).pass, 1);
  EXPECT_EQ(judge(task, 0, {.text = "none"}).pass, 0);
}

TEST_F(TaskTest, TruthfulQa) {
  write("truthfulqa/mc_task.json",
        "[{\"question\": \"Why?\", \"mc1_targets\": {\"True.\": 1, \"False.\": 0}, "
        "\"mc2_targets\": {\"True.\": 1, \"Also.\": 1, \"False.\": 0}}]");
  const Task task = open("truthfulqa_mc", options());
  ASSERT_EQ(task.examples.size(), 2u);
  const std::string& prompt = task.examples[0].query.prompt;
  EXPECT_TRUE(prompt.starts_with("Q: What is human life expectancy in the United States?\nA: Human life"))
      << prompt;
  EXPECT_TRUE(prompt.ends_with("A: The 1992 Olympics were held in Barcelona, Spain.\n\nQ: Why?\nA:"))
      << prompt;
  EXPECT_EQ(task.examples[1].query.choices, (std::vector<std::string>{" True.", " Also.", " False."}));
  EXPECT_EQ(judge(task, 0, {.logprobs = {-2, -1}}).values, std::vector<double>{0});
  const Score mc2 = judge(task, 1, {.logprobs = {std::log(0.2), std::log(0.1), std::log(0.3)}});
  EXPECT_DOUBLE_EQ(mc2.values[0], 0.5);
  // Log-probabilities that would all be 0 as probabilities.
  EXPECT_DOUBLE_EQ(judge(task, 1, {.logprobs = {-2000, -2000, -2000}}).values[0], 2.0 / 3);
  write("truthfulqa/mc_task.json", "[{\"question\": \"Why?\", \"mc1_targets\": {\"a\": 0}}]");
  EXPECT_NE(error("truthfulqa_mc", options()).find("has no true answer"), std::string::npos);
}

TEST_F(TaskTest, Perplexity) {
  EXPECT_NE(error("perplexity", options()).find("perplexity/*.txt"), std::string::npos);
  write("perplexity/b.txt", "two  words\n");
  write("perplexity/a.txt", "x");
  write("perplexity/c.md", "not this");
  const Task task = open("perplexity", options());
  ASSERT_EQ(task.examples.size(), 2u);
  EXPECT_EQ(task.examples[0].query.prompt, "x");
  // Python: len(re.split(r"\s+", "two  words\n")) == 3
  EXPECT_EQ(judge(task, 1, {.logprobs = {-5}}).weights, (std::vector<double>{3, 11, 11}));
}

TEST_F(TaskTest, UnknownTask) {
  EXPECT_EQ(error("squad", options()),
            "--tasks: \"squad\" is none of boolq, ceval, cmmlu, mmlu, gsm8k, humaneval, needle, perplexity, "
            "truthfulqa_mc, longbench, longbench_e");
}

}  // namespace
}  // namespace fathom::testing
