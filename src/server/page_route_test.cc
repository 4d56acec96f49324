#include "server/page_route.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fathom {
namespace {

TEST(PageRoute, GivesTheFileWithItsPolicyAndKnowsWhoHasIt) {
  const server::PageFile* file = find_page_file("/");
  ASSERT_NE(file, nullptr);
  HttpRequest request;
  const HttpReply reply = page_reply(request, *file);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, file->content);
  const std::pair<std::string, std::string> policy{"Content-Security-Policy", server::kPagePolicy};
  EXPECT_EQ(std::count(reply.headers.begin(), reply.headers.end(), policy), 1);
  request.headers.emplace_back("if-none-match", std::string(file->etag));
  const HttpReply known = page_reply(request, *file);
  EXPECT_EQ(known.status, 304);
  EXPECT_TRUE(known.body.empty());
}

TEST(PageRoute, HasNoOtherFiles) {
  EXPECT_EQ(find_page_file("/index.html.bak"), nullptr);
  EXPECT_EQ(find_page_file("/../app.js"), nullptr);
}

}  // namespace
}  // namespace fathom
