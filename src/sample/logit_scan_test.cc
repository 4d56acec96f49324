#include "sample/logit_scan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"

namespace fathom {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_logits(size_t count) {
  std::vector<float> logits(count);
  for (size_t i = 0; i < count; ++i)
    logits[i] = static_cast<float>(static_cast<int32_t>(random_bits(count, i) % 2000)) - 1500.0f;
  return logits;
}

TEST(LogitScan, PeakIsTheFirstGreatestAtEveryLength) {
  for (size_t count = 1; count < 1100; count += count < 40 ? 1 : 37) {
    std::vector<float> logits = random_logits(count);
    for (size_t place = 0; place < count; place += 1 + count / 7) {
      logits[place] = 600;
      logits[count - 1] = 600;
      const auto peak = find_peak(logits);
      ASSERT_TRUE(peak.ok());
      EXPECT_EQ(peak->id,
                static_cast<size_t>(std::find(logits.begin(), logits.end(), 600.0f) - logits.begin()));
      EXPECT_EQ(peak->logit, 600);
    }
  }
}

TEST(LogitScan, PeakOfEqualsAndOfTheSmallest) {
  std::vector<float> logits(700, -0.0f);
  logits[300] = 0.0f;
  EXPECT_EQ(find_peak(logits)->id, 0u);
  logits.assign(700, -kInf);
  EXPECT_EQ(find_peak(logits).status().message(), "all 700 logits are -inf");
  logits[650] = -std::numeric_limits<float>::max();
  EXPECT_EQ(find_peak(logits)->id, 650u);
}

TEST(LogitScan, NamesTheFirstThatIsNotUsable) {
  for (size_t place : {0, 17, 255, 256, 600, 699}) {
    for (float bad : {kNaN, kInf}) {
      std::vector<float> logits = random_logits(700);
      logits[place] = bad;
      const std::string name = std::isnan(bad) ? "nan" : "inf";
      EXPECT_EQ(find_peak(logits).status().message(),
                fmt::format("the logit of token {} is {}", place, name));
    }
  }
}

TEST(LogitScan, CopyKeepsWhatIsAllowedAndWhatIsNotUsable) {
  for (size_t count : {1, 15, 16, 31, 32, 33, 100, 1000}) {
    std::vector<float> logits = random_logits(count);
    logits[count / 2] = kNaN;
    logits[count / 3] = kInf;
    for (size_t num_words : {size_t{1}, (count + 31) / 32, (count + 31) / 32 + 2}) {
      std::vector<uint32_t> allowed(num_words);
      for (size_t word = 0; word < num_words; ++word)
        allowed[word] = static_cast<uint32_t>(random_bits(num_words, word));
      std::vector<float> copy;
      copy_allowed(logits, allowed, copy);
      ASSERT_EQ(copy.size(), count);
      for (size_t i = 0; i < count; ++i) {
        const bool is_allowed = i / 32 < num_words && (allowed[i / 32] >> (i % 32) & 1) != 0;
        if (std::isnan(logits[i])) {
          EXPECT_TRUE(std::isnan(copy[i]));
        } else {
          EXPECT_EQ(copy[i], is_allowed || logits[i] == kInf ? logits[i] : -kInf) << i;
        }
      }
    }
    std::vector<float> copy;
    copy_allowed(std::span(logits).first(count / 3), {}, copy);
    EXPECT_TRUE(std::equal(copy.begin(), copy.end(), logits.begin()));
  }
}

}  // namespace
}  // namespace fathom
