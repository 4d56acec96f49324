#include "server/constraint_cache.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

ConstraintSpec regex(std::string text) { return {ConstraintSpec::Kind::kRegex, std::move(text), {}}; }

TEST(ConstraintCacheTest, KeepsThoseUsedLast) {
  const std::vector<std::string_view> tokens = {"a", "b", ""};
  ConstraintCache cache(TokenTrie::create(tokens, {2}).value(), 2);
  EXPECT_EQ(cache.find(regex("a")), nullptr);
  const auto a = cache.find_or_compile(regex("a")).value();
  const auto b = cache.find_or_compile(regex("b")).value();
  EXPECT_NE(a, b);
  EXPECT_EQ(cache.find_or_compile(regex("a")).value(), a);
  ASSERT_TRUE(cache.find_or_compile(regex("ab")).ok());
  EXPECT_EQ(cache.find(regex("a")), a);
  EXPECT_EQ(cache.find(regex("b")), nullptr);
}

TEST(ConstraintCacheTest, TellsKindsAndChoicesApart) {
  const std::vector<std::string_view> tokens = {"a", "b", ""};
  ConstraintCache cache(TokenTrie::create(tokens, {2}).value());
  using Kind = ConstraintSpec::Kind;
  const auto one = cache.find_or_compile({Kind::kChoice, "", {"a"}}).value();
  EXPECT_EQ(cache.find({Kind::kChoice, "", {"b"}}), nullptr);
  EXPECT_EQ(cache.find(regex("")), nullptr);
  EXPECT_EQ(cache.find({Kind::kChoice, "", {"a"}}), one);
}

TEST(ConstraintCacheTest, KeepsNoFailures) {
  const std::vector<std::string_view> tokens = {"a", ""};
  ConstraintCache cache(TokenTrie::create(tokens, {1}).value());
  EXPECT_EQ(cache.find_or_compile(regex("(")).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(cache.find(regex("(")), nullptr);
}

}  // namespace
}  // namespace fathom
