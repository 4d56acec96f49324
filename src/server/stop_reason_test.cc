#include "server/stop_reason.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

GenerationEvent event_of(std::string text, FinishReason reason, int32_t token = 9) {
  GenerationEvent event;
  event.token.id = token;
  event.text = std::move(text);
  event.finish_reason = reason;
  return event;
}

TEST(StopReasonTest, FindsAndHidesTheString) {
  SamplingParams sampling;
  sampling.stop_strings = {"b", "ab"};
  const StopReason stop(sampling);
  EXPECT_TRUE(sampling.show_stop_string);
  GenerationEvent end = event_of("xab", FinishReason::kStop);
  EXPECT_EQ(stop.find(end), "ab");
  EXPECT_EQ(end.text, "x");
  GenerationEvent middle = event_of("b", FinishReason::kNone);
  EXPECT_TRUE(stop.find(middle).is_null());
  EXPECT_EQ(middle.text, "b");
}

TEST(StopReasonTest, ShowsTheStringWhereAsked) {
  SamplingParams sampling;
  sampling.stop_strings = {"b"};
  sampling.show_stop_string = true;
  const StopReason stop(sampling);
  GenerationEvent end = event_of("xb", FinishReason::kStop);
  EXPECT_EQ(stop.find(end), "b");
  EXPECT_EQ(end.text, "xb");
}

TEST(StopReasonTest, FindsTheToken) {
  SamplingParams sampling;
  sampling.stop_token_ids = {9};
  const StopReason stop(sampling);
  EXPECT_FALSE(sampling.show_stop_string);
  GenerationEvent end = event_of("", FinishReason::kStop);
  EXPECT_EQ(stop.find(end), 9);
  GenerationEvent own = event_of("", FinishReason::kStop, 1);
  EXPECT_TRUE(stop.find(own).is_null());
  GenerationEvent length = event_of("", FinishReason::kLength);
  EXPECT_TRUE(stop.find(length).is_null());
}

}  // namespace
}  // namespace fathom
