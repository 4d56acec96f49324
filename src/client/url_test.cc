#include "client/url.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(Url, TakesWhatServersPrint) {
  struct Case {
    const char *text, *host, *path, *header, *shown;
    uint16_t port;
  };
  const Case cases[] = {
      {"http://127.0.0.1:8000", "127.0.0.1", "", "127.0.0.1:8000", "http://127.0.0.1:8000", 8000},
      {"http://127.0.0.1:8000/", "127.0.0.1", "", "127.0.0.1:8000", "http://127.0.0.1:8000", 8000},
      {"localhost:80", "localhost", "", "localhost", "http://localhost", 80},
      {"host", "host", "", "host", "http://host", 80},
      {"http://[::1]:65535/v1", "::1", "", "[::1]:65535", "http://[::1]:65535", 65535},
      {"https://api.example.com/v1/", "api.example.com", "", "api.example.com", "https://api.example.com",
       443},
      {"https://h:8443/some/model/v1", "h", "/some/model", "h:8443", "https://h:8443/some/model", 8443},
      {"unix:/run/f.sock", "", "/run/f.sock", "localhost", "unix:/run/f.sock", 0},
      {"unix:///run/f.sock", "", "/run/f.sock", "localhost", "unix:/run/f.sock", 0},
  };
  for (const Case& wanted : cases) {
    SCOPED_TRACE(wanted.text);
    const Result<Url> url = parse_url(wanted.text);
    ASSERT_TRUE(url.ok()) << url.status().message();
    EXPECT_EQ(url->host, wanted.host);
    EXPECT_EQ(url->port, wanted.port);
    EXPECT_EQ(url->base_path, wanted.path);
    EXPECT_EQ(url->host_header(), wanted.header);
    EXPECT_EQ(url->text(), wanted.shown);
  }
  EXPECT_EQ(parse_url("https://h")->scheme, Url::Scheme::kHttps);
}

TEST(Url, RefusesTheRest) {
  for (const char* text :
       {"", " http://h", "http://", "http://:80", "ftp://h", "h:0", "h:65536", "h:8x", "h:", "http://[::1",
        "http://[::1]8", "h/a b", "h\r\nX: y", "h?a=b", "h/#x", "unix:", "http://h\xc3\xa9"}) {
    EXPECT_FALSE(parse_url(text).ok()) << text;
  }
}

TEST(Url, NeverRepeatsAPassword) {
  const Result<Url> url = parse_url("http://me:secret@host");
  ASSERT_FALSE(url.ok());
  EXPECT_EQ(url.status().message().find("secret"), std::string::npos);
}

}  // namespace
}  // namespace fathom
