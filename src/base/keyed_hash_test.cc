#include "base/keyed_hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

namespace fathom {
namespace {

std::span<const std::byte> text_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(KeyedHash, IsAFunctionOfTheBytes) {
  KeyedHash hash = KeyedHash::create().value();
  const Hash128 whole = hash({text_bytes("prefix")});
  EXPECT_EQ(hash({text_bytes("pre"), text_bytes(""), text_bytes("fix")}), whole);
  EXPECT_EQ(hash({text_bytes("prefix")}), whole);
  EXPECT_NE(hash({text_bytes("prefiy")}), whole);
  EXPECT_NE(hash({}), whole);
}

TEST(KeyedHash, MovesWithItsKey) {
  KeyedHash hash = KeyedHash::create().value();
  const Hash128 before = hash({text_bytes("x")});
  KeyedHash moved = std::move(hash);
  EXPECT_EQ(moved({text_bytes("x")}), before);
}

// What an attacker would need to know differs from object to object.
TEST(KeyedHash, EveryObjectHasItsOwnKey) {
  std::set<Hash128> hashes;
  for (int i = 0; i < 100; ++i) hashes.insert(KeyedHash::create().value()({text_bytes("x")}));
  EXPECT_EQ(hashes.size(), 100u);
}

// All 128 bits take part: over 200 inputs each is 0 and 1 at some time, but for a chance of 2^-192.
TEST(KeyedHash, EveryBitVaries) {
  KeyedHash hash = KeyedHash::create().value();
  Hash128 ever_set, ever_clear;
  for (int i = 0; i < 200; ++i) {
    const std::string text = std::to_string(i);
    const Hash128 value = hash({text_bytes(text)});
    ever_set.low |= value.low;
    ever_set.high |= value.high;
    ever_clear.low |= ~value.low;
    ever_clear.high |= ~value.high;
  }
  const Hash128 all = {.low = ~uint64_t{0}, .high = ~uint64_t{0}};
  EXPECT_EQ(ever_set, all);
  EXPECT_EQ(ever_clear, all);
}

}  // namespace
}  // namespace fathom
