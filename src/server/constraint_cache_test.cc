#include "server/constraint_cache.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

ConstraintSpec regex(std::string text) { return {ConstraintSpec::Kind::kRegex, std::move(text), {}}; }

TEST(ConstraintCacheTest, KeepsThoseUsedLast) {
  const std::vector<std::string_view> tokens = {"a", "b", ""};
  ConstraintCache cache(TokenTrie::create(tokens, {2}).value(), {.max_kept = 2});
  EXPECT_EQ(cache.find(regex("a")), nullptr);
  const auto* a = cache.find_or_compile(regex("a")).value().get();
  const auto* b = cache.find_or_compile(regex("b")).value().get();
  EXPECT_NE(a, b);
  EXPECT_EQ(cache.find_or_compile(regex("a")).value().get(), a);
  ASSERT_TRUE(cache.find_or_compile(regex("ab")).ok());
  EXPECT_EQ(cache.find(regex("a")).get(), a);
  EXPECT_EQ(cache.find(regex("b")), nullptr);
}

// What requests use stays; what they do not makes room.
TEST(ConstraintCacheTest, BytesAreBounded) {
  const std::vector<std::string_view> tokens = {"a", "b", ""};
  const auto trie = TokenTrie::create(tokens, {2}).value();
  const size_t one = ConstraintCache(trie).find_or_compile(regex("a{100}")).value()->num_bytes();
  EXPECT_GT(one, 1000u);
  ConstraintCache cache(trie, {.max_bytes = one * 5 / 2});
  auto a = cache.find_or_compile(regex("a{100}")).value();
  ASSERT_TRUE(cache.find_or_compile(regex("b{100}")).ok());
  ASSERT_TRUE(cache.find_or_compile(regex("a{101}")).ok());  // three of them: b makes room
  EXPECT_EQ(cache.find(regex("b{100}")), nullptr);
  const auto c = cache.find_or_compile(regex("a{101}")).value();
  EXPECT_EQ(cache.find_or_compile(regex("b{99}")).status().code(), ErrorCode::kResourceExhausted);
  a = nullptr;
  EXPECT_TRUE(cache.find_or_compile(regex("b{99}")).ok());
  EXPECT_EQ(cache.find(regex("a{101}")), c);
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
