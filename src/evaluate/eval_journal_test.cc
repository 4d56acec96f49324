#include "evaluate/eval_journal.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "evaluate/eval_run.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

const Json kSetup = {{"model", "m"}, {"limit", 3}};

// Answers with the length of the prompt; says so often that it fails before the question of this index.
class CountingScorer : public Scorer {
 public:
  explicit CountingScorer(size_t fail_at) : fail_at_(fail_at) {}
  Status answer(std::span<const Query> queries, const AnswerSink& sink) override {
    for (size_t i = queries.size(); i-- > 0;) {  // any order will do
      if (num_asked == fail_at_) return io_error("killed");
      ++num_asked;
      FATHOM_RETURN_IF_ERROR(sink(i, {.logprobs = {-1.0 / 3 * static_cast<double>(queries[i].prompt.size())},
                                      .text = "é\n" + queries[i].prompt,
                                      .prompt_ids = {1, 2},
                                      .output_ids = {3}}));
    }
    return ok_status();
  }
  size_t num_asked = 0;

 private:
  size_t fail_at_;
};

Task make_task(size_t num_examples) {
  Task task;
  task.name = "toy";
  task.subjects = {{"toy", "toy", "", 0}};
  task.metrics = {{.name = "acc"}};
  for (size_t i = 0; i < num_examples; ++i)
    task.examples.push_back({.query = {.prompt = std::string(i, 'x')}});
  task.judge = [](const Example&, const fathom::Answer& answer) -> Result<Score> {
    return Score{.values = {answer.logprobs[0] * 2}, .weights = {0.1}, .result = answer.text, .pass = 0.5};
  };
  return task;
}

std::unique_ptr<EvalJournal> open(const std::string& path, const Json& setup, Resume resume) {
  auto journal = EvalJournal::open(path, setup, resume);
  EXPECT_TRUE(journal.ok()) << journal.status().message();
  return journal.ok() ? std::move(journal).value() : nullptr;
}

void expect_same(const std::vector<ExampleResult>& a, const std::vector<ExampleResult>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(to_json(a[i].answer), to_json(b[i].answer)) << i;
    EXPECT_EQ(to_json(a[i].score), to_json(b[i].score)) << i;
  }
}

// However often and wherever a run ends, it goes on to the same results and asks nothing twice.
TEST(EvalJournal, GoesOnWhereARunEnded) {
  const TempDir folder;
  const std::string path = folder.file("progress.jsonl");
  const Task task = make_task(20);
  CountingScorer whole(100);
  const auto want = run_task(task, whole, nullptr, nullptr);
  ASSERT_TRUE(want.ok());
  size_t num_asked = 0;
  for (const size_t fail_at : {size_t{7}, size_t{0}, size_t{1}}) {
    const auto journal = open(path, kSetup, num_asked == 0 ? Resume::kNo : Resume::kYes);
    CountingScorer scorer(fail_at);
    EXPECT_EQ(run_task(task, scorer, journal.get(), nullptr).status().message(), "toy: killed");
    num_asked += scorer.num_asked;
  }
  const auto journal = open(path, kSetup, Resume::kYes);
  CountingScorer scorer(100);
  const auto got = run_task(task, scorer, journal.get(), nullptr);
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_EQ(num_asked + scorer.num_asked, 20u);
  expect_same(*got, *want);
  ASSERT_TRUE(journal->remove().ok());
  EXPECT_FALSE(path_exists(path));
}

// The file cut after any byte is what a killed process may leave.
TEST(EvalJournal, AnyPrefixIsAJournal) {
  const TempDir folder;
  const std::string path = folder.file("progress.jsonl");
  const Task task = make_task(3);
  CountingScorer scorer(100);
  std::vector<ExampleResult> want;
  {
    const auto journal = open(path, kSetup, Resume::kNo);
    want = *run_task(task, scorer, journal.get(), nullptr);
  }
  const std::string content = *read_file(path, 1 << 20);
  for (size_t size = 0; size <= content.size(); ++size) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content.substr(0, size);
    const auto journal = open(path, kSetup, Resume::kYes);
    CountingScorer again(100);
    const auto got = run_task(task, again, journal.get(), nullptr);
    ASSERT_TRUE(got.ok()) << size << ": " << got.status().message();
    expect_same(*got, want);
    EXPECT_EQ(*read_file(path, 1 << 20), content) << size;
  }
}

TEST(EvalJournal, RefusesAnotherRun) {
  const TempDir folder;
  const std::string path = folder.file("progress.jsonl");
  Task task = make_task(2);
  {
    const auto journal = open(path, kSetup, Resume::kYes);  // none there: a new one
    CountingScorer scorer(100);
    ASSERT_TRUE(run_task(task, scorer, journal.get(), nullptr).ok());
  }
  const auto message = [&](const Json& setup, Resume resume) {
    return EvalJournal::open(path, setup, resume).status().message();
  };
  EXPECT_NE(message(kSetup, Resume::kNo).find("give --resume"), std::string::npos);
  EXPECT_EQ(message({{"model", "m"}, {"limit", 4}}, Resume::kYes),
            "--resume: " + path + " is of a run with limit 3, this is one with 4; give another --out");
  const auto journal = open(path, kSetup, Resume::kYes);
  CountingScorer scorer(100);
  task.examples[1].query.prompt = "changed";
  EXPECT_EQ(run_task(task, scorer, journal.get(), nullptr).status().message(),
            path + ": question 2 of toy was another one; the data has changed, give another --out");
}

TEST(EvalJournal, NamesALineThatIsNone) {
  const TempDir folder;
  const std::string path = folder.write("progress.jsonl", dump_json(kSetup) + "\n{\"task\": \"toy\"}\n");
  const std::string message = EvalJournal::open(path, kSetup, Resume::kYes).status().message();
  EXPECT_NE(message.find(path + " line 2: not a line of a journal"), std::string::npos) << message;
}

TEST(QueryHash, TellsQueriesApart) {
  const Query query{.prompt = "ab", .choices = {"c", "d"}};
  EXPECT_EQ(query_hash(query), query_hash(Query(query)));
  EXPECT_NE(query_hash(query), query_hash({.prompt = "a", .choices = {"bc", "d"}}));
  EXPECT_NE(query_hash(query), query_hash({.prompt = "ab", .choices = {"cd"}}));
  EXPECT_NE(query_hash(query),
            query_hash({.kind = QueryKind::kNextToken, .prompt = "ab", .choices = {"c", "d"}}));
}

}  // namespace
}  // namespace fathom::testing
