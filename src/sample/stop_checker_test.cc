#include "sample/stop_checker.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace fathom {
namespace {

SamplingParams with_stops(std::vector<std::string> stops) {
  SamplingParams params;
  params.stop_strings = std::move(stops);
  return params;
}

TEST(StopChecker, TokensStop) {
  SamplingParams params;
  params.stop_token_ids = {7, 9};
  const std::vector<int32_t> end_ids = {1};
  StopChecker checker(params, end_ids);
  for (int32_t token : {1, 7, 9}) EXPECT_EQ(checker.check_token(token), StopVerdict::kStop);
  EXPECT_EQ(checker.check_token(2), StopVerdict::kContinue);
  params.ignore_eos = true;
  EXPECT_EQ(StopChecker(params, end_ids).check_token(1), StopVerdict::kContinue);
  EXPECT_EQ(StopChecker(params, end_ids).check_token(7), StopVerdict::kStop);
}

TEST(StopChecker, HoldsBackAPossibleBeginning) {
  StopChecker checker(with_stops({"\nUser:"}), {});
  std::string out;
  EXPECT_EQ(checker.push("Hi\nUs", out), StopVerdict::kContinue);
  EXPECT_EQ(out, "Hi");
  EXPECT_EQ(checker.push("ually\nU", out), StopVerdict::kContinue);
  EXPECT_EQ(out, "Hi\nUsually");
  EXPECT_EQ(checker.push("ser", out), StopVerdict::kContinue);
  EXPECT_EQ(checker.push(": more", out), StopVerdict::kStop);
  EXPECT_EQ(out, "Hi\nUsually");
  checker.flush(out);
  EXPECT_EQ(out, "Hi\nUsually");
}

TEST(StopChecker, ShowsTheStopStringWhereAsked) {
  SamplingParams params = with_stops({"bc"});
  params.show_stop_string = true;
  StopChecker checker(params, {});
  std::string out;
  EXPECT_EQ(checker.push("ab", out), StopVerdict::kContinue);
  EXPECT_EQ(out, "a");
  EXPECT_EQ(checker.push("cd", out), StopVerdict::kStop);
  EXPECT_EQ(out, "abc");
}

TEST(StopChecker, FlushShowsWhatWasHeld) {
  StopChecker checker(with_stops({"abcd"}), {});
  std::string out;
  EXPECT_EQ(checker.push("xabc", out), StopVerdict::kContinue);
  EXPECT_EQ(out, "x");
  checker.flush(out);
  EXPECT_EQ(out, "xabc");
}

TEST(StopChecker, WithoutStopStringsAllPasses) {
  StopChecker checker(SamplingParams(), {});
  std::string out;
  EXPECT_EQ(checker.push("anything", out), StopVerdict::kContinue);
  EXPECT_EQ(checker.push("", out), StopVerdict::kContinue);
  EXPECT_EQ(out, "anything");
}

TEST(StopChecker, FirstToEndCountsThenTheLongest) {
  std::string out;
  EXPECT_EQ(StopChecker(with_stops({"bcd", "c"}), {}).push("abcd", out), StopVerdict::kStop);
  EXPECT_EQ(out, "ab");
  out.clear();
  EXPECT_EQ(StopChecker(with_stops({"c", "bc"}), {}).push("abcd", out), StopVerdict::kStop);
  EXPECT_EQ(out, "a");
}

// Against a search over the whole text, with texts and stop strings of two letters so that borders abound and
// with every way to cut the text; nothing is shown that a later piece could turn into a stop string.
TEST(StopChecker, AgreesWithASearchOverTheWholeText) {
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    uint64_t counter = 0;
    const auto draw = [&](uint64_t bound) { return random_bits(seed, counter++) % bound; };
    const auto draw_text = [&](uint64_t length) {
      std::string text;
      for (uint64_t i = 0; i < length; ++i) text += draw(2) == 0 ? 'a' : 'b';
      return text;
    };
    std::vector<std::string> stops(1 + draw(3));
    for (std::string& stop : stops) stop = draw_text(1 + draw(7));
    const std::string text = draw_text(draw(40));

    std::string shown = text;
    bool stopped = false;
    for (size_t end = 1; end <= text.size() && !stopped; ++end) {
      for (const std::string& stop : stops) {
        if (stop.size() > end || text.compare(end - stop.size(), stop.size(), stop) != 0) continue;
        if (!stopped || end - stop.size() < shown.size()) shown = text.substr(0, end - stop.size());
        stopped = true;
      }
    }

    StopChecker checker(with_stops(stops), {});
    std::string out;
    StopVerdict verdict = StopVerdict::kContinue;
    for (size_t begin = 0; begin < text.size() && verdict == StopVerdict::kContinue;) {
      const size_t length = 1 + draw(5);
      verdict = checker.push(std::string_view(text).substr(begin, length), out);
      begin = std::min(begin + length, text.size());
      ASSERT_EQ(out, shown.substr(0, out.size())) << "seed " << seed;
      if (verdict == StopVerdict::kStop) break;
      // What is held is the longest end of the text so far that begins a stop string.
      const std::string so_far = text.substr(0, begin);
      size_t keep = 0;
      for (const std::string& stop : stops) {
        for (size_t n = 1; n < stop.size() && n <= so_far.size(); ++n) {
          if (so_far.compare(so_far.size() - n, n, stop, 0, n) == 0) keep = std::max(keep, n);
        }
      }
      ASSERT_EQ(out.size(), so_far.size() - keep) << "seed " << seed;
    }
    ASSERT_EQ(verdict == StopVerdict::kStop, stopped) << "seed " << seed;
    checker.flush(out);
    ASSERT_EQ(out, shown) << "seed " << seed;
  }
}

}  // namespace
}  // namespace fathom
