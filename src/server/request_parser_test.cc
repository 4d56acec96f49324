#include "server/request_parser.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

constexpr const char* kPost =
    "POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Key: One\r\nContent-Length: 5\r\n\r\nhello";

// Feeds in portions, keeping what was not taken; returns the bytes left over.
std::string feed(RequestParser& parser, const std::string& text, size_t portion) {
  std::string input;
  for (size_t begin = 0; begin < text.size(); begin += portion) {
    input += text.substr(begin, portion);
    while (true) {
      const size_t used = parser.feed(input);
      input.erase(0, used);
      if (used == 0) break;
    }
  }
  return input;
}

int failure(const std::string& text, const ServerLimits& limits = {}) {
  RequestParser parser(limits);
  feed(parser, text, text.size());
  return parser.state() == RequestParser::State::kFailed ? parser.error().status : 0;
}

TEST(RequestParser, AnyPortionsGiveTheSameRequest) {
  const std::string text = std::string(kPost) + "GET /next";
  for (size_t portion = 1; portion <= text.size(); ++portion) {
    RequestParser parser({});
    const std::string left = feed(parser, text, portion);
    ASSERT_EQ(parser.state(), RequestParser::State::kDone) << portion;
    EXPECT_EQ(left, "GET /next");
    const HttpRequest request = parser.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/a");
    EXPECT_EQ(request.query, "b=c");
    EXPECT_EQ(request.header("x-key"), "One");
    EXPECT_EQ(request.header("none"), "");
    EXPECT_EQ(request.body, "hello");
    EXPECT_TRUE(request.keep_alive);
  }
}

TEST(RequestParser, ChunksAndVersions) {
  RequestParser parser({});
  feed(parser, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 1);
  ASSERT_EQ(parser.state(), RequestParser::State::kDone);
  EXPECT_EQ(parser.take().body, "abc");
  RequestParser old({});
  feed(old, "GET / HTTP/1.0\r\n\r\n", 100);
  const HttpRequest request = old.take();
  EXPECT_TRUE(request.http_1_0);
  EXPECT_FALSE(request.keep_alive);
}

TEST(RequestParser, LimitsAreExact) {
  ServerLimits limits;
  limits.max_body_bytes = 5;
  EXPECT_EQ(failure(kPost, limits), 0);
  limits.max_body_bytes = 4;
  EXPECT_EQ(failure(kPost, limits), 413);
  limits = {};
  limits.max_header_fields = 3;
  EXPECT_EQ(failure(kPost, limits), 0);
  limits.max_header_fields = 2;
  EXPECT_EQ(failure(kPost, limits), 431);
  limits = {};
  limits.max_head_bytes = 100;
  EXPECT_EQ(failure("GET / HTTP/1.1\r\nA: " + std::string(200, 'x') + "\r\n\r\n", limits), 431);
  EXPECT_EQ(failure("GET /" + std::string(200, 'x'), limits), 431);  // before its end is there
}

TEST(RequestParser, RefusesWhatOthersMayReadDifferently) {
  const std::string head = "POST / HTTP/1.1\r\n";
  for (const char* text : {
           "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
           "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
           "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
           "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
           "Host: a\r\nHost: b\r\n\r\n",
           "Authorization: a\r\nAuthorization: b\r\n\r\n",
           "Content-Length: -1\r\n\r\n",
           "Content-Length: 99999999999999999999\r\n\r\n",
           "A : b\r\n\r\n",
           "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
       }) {
    EXPECT_EQ(failure(head + text), 400) << text;
  }
  EXPECT_EQ(failure("GET http://x/ HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(failure("GET / HTTP/2.0\r\n\r\n"), 400);
}

}  // namespace
}  // namespace fathom
