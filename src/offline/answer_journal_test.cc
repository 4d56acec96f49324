#include "offline/answer_journal.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

using Outcome = AnswerJournal::Outcome;

const Json kSetup = {{"file", "p.jsonl"}, {"seed", 7}};
// Records that hold what could be taken for structure.
const std::vector<std::string> kRecords = {R"({"text":"a\n}\"{"})", R"({"text":"","ids":[1,2]})",
                                           R"({"error":"x"})"};

std::string read(const std::string& path) { return read_file(path, 1 << 20).value(); }

std::unique_ptr<AnswerJournal> open(const std::string& out) {
  auto journal = AnswerJournal::open(out, kSetup, kRecords.size());
  EXPECT_TRUE(journal.ok()) << journal.status().message();
  return journal.ok() ? std::move(journal).value() : nullptr;
}

void add(AnswerJournal& journal, size_t line) {
  const Outcome outcome = line == 2 ? Outcome::kFailed : Outcome::kAnswered;
  ASSERT_TRUE(journal.add(line, outcome, kRecords[line]).ok());
}

TEST(AnswerJournal, RecordsStandInTheOrderOfTheLines) {
  const TempDir folder;
  const std::string out = folder.file("out.jsonl");
  const auto journal = open(out);
  for (size_t line : {2u, 0u, 1u}) add(*journal, line);
  EXPECT_FALSE(path_exists(out));
  ASSERT_TRUE(journal->finish().ok());
  EXPECT_EQ(read(out), kRecords[0] + "\n" + kRecords[1] + "\n" + kRecords[2] + "\n");
  EXPECT_FALSE(path_exists(out + ".unfinished"));
}

// A kill at any byte, and whatever a crash may leave behind it.
TEST(AnswerJournal, GoesOnFromAnyBeginningOfItsFile) {
  const TempDir folder;
  const std::string whole_out = folder.file("whole");
  {
    const auto journal = open(whole_out);
    for (size_t line : {1u, 2u, 0u}) add(*journal, line);
    EXPECT_TRUE(journal->sync().ok());
  }
  const std::string whole = read(whole_out + ".unfinished");
  ASSERT_TRUE(open(whole_out)->finish().ok());
  for (size_t size = 0; size <= whole.size(); ++size) {
    for (const std::string& tail : {std::string(), std::string(5, '\0'), std::string("\0\0\n{}\n", 6)}) {
      const std::string head = whole.substr(0, size);
      const auto lines = static_cast<size_t>(std::count(head.begin(), head.end(), '\n'));
      if (lines == 0 && !tail.empty()) continue;  // not known as ours: refused, see below
      const std::string out = folder.file("cut");
      folder.write("cut.unfinished", head + tail);
      {
        const auto journal = open(out);
        ASSERT_NE(journal, nullptr) << size;
        EXPECT_EQ(journal->num_done(), lines == 0 ? 0 : lines - 1) << size;
        EXPECT_EQ(journal->num_failed(), lines >= 3 ? 1u : 0u) << size;
        for (size_t line = 0; line < kRecords.size(); ++line) {
          if (!journal->has(line)) add(*journal, line);
        }
        ASSERT_TRUE(journal->finish().ok());
      }
      EXPECT_EQ(read(out), read(whole_out)) << size;
      std::filesystem::remove(out);
    }
  }
}

TEST(AnswerJournal, RefusesWhatIsNotItsOwn) {
  const TempDir folder;
  const std::string out = folder.file("out");
  const auto message = [&](const Json& setup) {
    return AnswerJournal::open(out, setup, kRecords.size()).status().message();
  };
  folder.write("out.unfinished", "my notes");
  EXPECT_NE(message(kSetup).find("not a run's file"), std::string::npos);
  folder.write("out.unfinished", "{\"text\": 1}\n");
  EXPECT_NE(message(kSetup).find("not a run's file"), std::string::npos);
  EXPECT_EQ(read(out + ".unfinished"), "{\"text\": 1}\n");
  std::filesystem::remove(out + ".unfinished");
  {
    const auto journal = open(out);
    EXPECT_NE(message(kSetup).find("another process"), std::string::npos);
  }
  const std::string other = message({{"file", "p.jsonl"}, {"seed", 8}});
  EXPECT_NE(other.find("with seed 7, this is one with 8"), std::string::npos) << other;
  folder.write("out", "");
  EXPECT_NE(message(kSetup).find("is there already"), std::string::npos);
}

}  // namespace
}  // namespace fathom::testing
