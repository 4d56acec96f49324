#include "base/html.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(Html, EscapesWhatEndsTextOrAttributes) {
  EXPECT_EQ(escape_html("<a href=\"x\" b='y'>&amp;"), "&lt;a href=&#34;x&#34; b=&#39;y&#39;&gt;&amp;amp;");
  EXPECT_EQ(escape_html("é"), "é");
}

TEST(Html, PageHoldsItsPartsOnce) {
  const std::string page = html_page("a<b", "p { color: red; }", "<p>body</p>");
  EXPECT_NE(page.find("<title>a&lt;b</title>"), std::string::npos);
  EXPECT_NE(page.find("p { color: red; }</style>"), std::string::npos);
  EXPECT_NE(page.find("<p>body</p></body></html>"), std::string::npos);
}

}  // namespace
}  // namespace fathom
