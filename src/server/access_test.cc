#include "server/access.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

HttpRequest request_with(std::vector<std::pair<std::string, std::string>> headers,
                         const char* method = "GET") {
  HttpRequest request;
  request.method = method;
  request.headers = std::move(headers);
  return request;
}

int status(const AccessControl& access, const HttpRequest& request, Guard guard = Guard::kKey) {
  const auto error = access.check(request, guard);
  return error ? error->status : 200;
}

TEST(AccessControl, Keys) {
  const AccessControl access({.api_keys = {"alpha", "beta"}, .allowed_origins = {}, .allowed_hosts = {}});
  const std::pair<std::string, std::string> host = {"host", "x"};
  EXPECT_EQ(status(access, request_with({host})), 401);
  EXPECT_EQ(status(access, request_with({host}), Guard::kOpen), 200);
  for (const char* key : {"alpha", "beta"}) {
    EXPECT_EQ(status(access, request_with({host, {"authorization", std::string("Bearer ") + key}})), 200);
    EXPECT_EQ(status(access, request_with({host, {"x-api-key", key}})), 200);
  }
  for (const char* value :
       {"Bearer alph", "Bearer alphaa", "Bearer ", "Basic alpha", "alpha", "Bearer alpha "}) {
    EXPECT_EQ(status(access, request_with({host, {"authorization", value}})), 401) << value;
  }
  const AccessControl open({});
  EXPECT_EQ(status(open, request_with({host})), 200);
}

TEST(AccessControl, Hosts) {
  const AccessControl access({.api_keys = {}, .allowed_origins = {}, .allowed_hosts = {"localhost", "::1"}});
  for (const char* host : {"localhost", "LocalHost:80", "[::1]:8000", "[::1]"}) {
    EXPECT_EQ(status(access, request_with({{"host", host}})), 200) << host;
  }
  for (const char* host : {"evil.example", "localhost.evil.example", "127.0.0.1", "[::2]"}) {
    EXPECT_EQ(status(access, request_with({{"host", host}}), Guard::kOpen), 403) << host;
  }
  const auto refused = access.check(request_with({{"host", "evil.example"}}), Guard::kOpen);
  EXPECT_EQ(refused->message, "this server does not answer to that Host (--allowed-hosts)");
  HttpRequest none = request_with({});
  EXPECT_EQ(status(access, none), 400);
  none.http_1_0 = true;
  EXPECT_EQ(status(access, none), 200);
}

TEST(AccessControl, Origins) {
  const AccessControl access({.api_keys = {}, .allowed_origins = {"https://a.example"}, .allowed_hosts = {}});
  const auto from = [](const char* origin) {
    return request_with({{"host", "h:1"}, {"origin", origin}}, "POST");
  };
  EXPECT_EQ(status(access, from("https://a.example")), 200);
  EXPECT_EQ(access.cors_headers(from("https://a.example"))[0].second, "https://a.example");
  EXPECT_EQ(status(access, from("http://h:1")), 200);
  for (const char* origin : {"https://b.example", "null", "http://h", "https://a.example.evil"}) {
    EXPECT_EQ(status(access, from(origin)), 403) << origin;
    EXPECT_TRUE(access.cors_headers(from(origin)).empty());
  }
}

}  // namespace
}  // namespace fathom
