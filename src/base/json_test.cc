#include "base/json.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/clock.h"

namespace fathom {
namespace {

TEST(Json, ParsesAndKeepsOrder) {
  const auto parsed = parse_json(R"({"b": 1, "a": [true, null]})", "x", {});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(dump_json(*parsed), R"({"b":1,"a":[true,null]})");
}

TEST(Json, DepthLimitIsExact) {
  const JsonLimits limits{.max_bytes = 1000, .max_depth = 3};
  EXPECT_TRUE(parse_json("[[[1]]]", "x", limits).ok());
  const auto deep = parse_json("[[[[1]]]]", "file.json", limits);
  ASSERT_FALSE(deep.ok());
  EXPECT_EQ(deep.status().message(), "file.json: JSON is nested deeper than the limit of 3 levels");
}

TEST(Json, HugeDepthIsRefusedWithoutRecursion) {
  EXPECT_FALSE(parse_json(std::string(1 << 19, '['), "x", {}).ok());
  EXPECT_FALSE(parse_json(std::string(1 << 19, '{'), "x", {}).ok());
}

TEST(Json, DuplicateKeysAreRefusedAtAnyDepth) {
  EXPECT_FALSE(parse_json(R"({"a": 1, "a": 2})", "x", {}).ok());
  EXPECT_FALSE(parse_json(R"({"a": [{"b": 1, "b": 1}]})", "x", {}).ok());
  EXPECT_TRUE(parse_json(R"({"a": {"b": 1}, "c": {"b": 1}})", "x", {}).ok());
}

TEST(Json, KeyLimitIsExact) {
  const JsonLimits limits{.max_object_keys = 2};
  EXPECT_TRUE(parse_json(R"({"a": 1, "b": {"c": 1, "d": 2}})", "x", limits).ok());
  const auto many = parse_json(R"({"a": 1, "b": 2, "c": 3})", "file.json", limits);
  ASSERT_FALSE(many.ok());
  EXPECT_EQ(many.status().message(), "file.json: a JSON object has more than the limit of 2 keys");
}

// The least of several, since other processes may hold up one.
double seconds_of_parsing(const std::string& text) {
  double least = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double begin = monotonic_seconds();
    EXPECT_TRUE(parse_json(text, "x", {.max_bytes = text.size()}).ok());
    least = std::min(least, monotonic_seconds() - begin);
  }
  return least;
}

TEST(Json, TimeIsInProportionToTheSize) {
  const auto list = [](int count) {
    std::string text = "[{}";
    for (int i = 1; i < count; ++i) text += ",{}";
    return text + "]";
  };
  const double once = seconds_of_parsing(list(20'000));
  EXPECT_LT(seconds_of_parsing(list(160'000)), 8 * 4 * once);
}

TEST(Json, MessagesDoNotRepeatTheDocument) {
  const std::string much(100'000, 'k');
  for (const std::string& text : {"{\"" + much, "{\"" + much + "\":1,\"" + much + "\":1}",
                                  "[" + std::string(100'000, '9') + "]", "[" + much + "]"}) {
    const auto parsed = parse_json(text, "body", {});
    ASSERT_FALSE(parsed.ok());
    EXPECT_LT(parsed.status().message().size(), 300u);
  }
}

TEST(Json, SizeLimitAndGarbage) {
  EXPECT_FALSE(parse_json("[1,2,3]", "x", {.max_bytes = 6}).ok());
  EXPECT_FALSE(parse_json("", "x", {}).ok());
  EXPECT_FALSE(parse_json("{} x", "x", {}).ok());
  EXPECT_FALSE(parse_json("\"\xff\"", "x", {}).ok());
}

}  // namespace
}  // namespace fathom
