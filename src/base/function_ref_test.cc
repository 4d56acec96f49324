#include "base/function_ref.h"

#include <gtest/gtest.h>

#include <memory>

namespace fathom {
namespace {

int twice_of(FunctionRef<int(int)> function, int x) { return 2 * function(x); }

TEST(FunctionRef, CallsWhatItRefersTo) {
  int calls = 0;
  const auto counting = [&calls](int x) { return ++calls, x + 1; };
  EXPECT_EQ(twice_of(counting, 3), 8);
  EXPECT_EQ(twice_of([](int x) { return x * x; }, 3), 18);
  auto stateful = [n = 0](int x) mutable { return n += x; };
  EXPECT_EQ(twice_of(stateful, 3), 6);
  EXPECT_EQ(twice_of(stateful, 3), 12) << "it works on the object itself, not on a copy";
  EXPECT_EQ(calls, 1);
}

TEST(FunctionRef, PassesArgumentsOn) {
  const auto take = [](std::unique_ptr<int> value) { return *value; };
  const FunctionRef<int(std::unique_ptr<int>)> function = take;
  EXPECT_EQ(function(std::make_unique<int>(7)), 7);
  int target = 0;
  const auto assign = [](int& out) { out = 5; };
  const FunctionRef<void(int&)> reference = assign;
  reference(target);
  EXPECT_EQ(target, 5);
}

TEST(FunctionRef, IsFalseWhereItRefersToNothing) {
  const auto nothing = [] {};
  EXPECT_FALSE(FunctionRef<void()>());
  EXPECT_TRUE(FunctionRef<void()>(nothing));
}

}  // namespace
}  // namespace fathom
