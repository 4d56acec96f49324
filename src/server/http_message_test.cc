#include "server/http_message.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(PercentDecode, EscapesBecomeBytes) {
  EXPECT_EQ(percent_decode("a%2Fb%2fc%20%E8%AF%9D"), "a/b/c 话");
  EXPECT_EQ(percent_decode("plain+text"), "plain+text");
  EXPECT_EQ(percent_decode(""), "");
  for (const char* text : {"%", "%2", "a%", "%zz", "%2z", "%-1", "%+1"})
    EXPECT_EQ(percent_decode(text), text);
}

}  // namespace
}  // namespace fathom
