#include "server/listen_socket.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace fathom {
namespace {

namespace fs = std::filesystem;

class UnixSocketTest : public ::testing::Test {
 protected:
  UnixSocketTest() : folder_(fs::temp_directory_path() / fmt::format("fathom-uds-{}", ::getpid())) {
    fs::create_directory(folder_);
  }
  ~UnixSocketTest() override { fs::remove_all(folder_); }

  std::string path(const char* name) const { return folder_ / name; }
  static Result<ListenSocket> open(const std::string& path) {
    ListenOptions options;
    options.unix_path = path;
    return open_listen_socket(options);
  }
  // Bound, and nobody listens any more.
  void leave_socket(const char* name) const {
    const auto socket = open(path(name));
    ASSERT_TRUE(socket.ok()) << socket.status().message();
    ::close(socket->descriptor);
  }

  fs::path folder_;
};

TEST_F(UnixSocketTest, OnlyAStaleSocketIsReplaced) {
  leave_socket("socket");
  const auto again = open(path("socket"));
  ASSERT_TRUE(again.ok()) << again.status().message();
  const auto second = open(path("socket"));
  EXPECT_NE(second.status().message().find("in use"), std::string::npos) << second.status().message();
  ::close(again->descriptor);
}

TEST_F(UnixSocketTest, OtherFilesStay) {
  std::ofstream(path("file")) << "precious";
  leave_socket("stale");
  fs::create_directory(path("folder"));
  fs::create_symlink(path("file"), path("link"));
  fs::create_symlink(path("stale"), path("link-to-socket"));
  fs::create_symlink(path("nothing"), path("dangling"));
  for (const char* name : {"file", "folder", "link", "link-to-socket", "dangling"}) {
    const auto socket = open(path(name));
    ASSERT_FALSE(socket.ok()) << name;
    EXPECT_EQ(socket.status().message(), "--uds: " + path(name) + " is there already and is not a socket");
    remove_socket(path(name));
    EXPECT_TRUE(fs::exists(fs::symlink_status(path(name)))) << name;
  }
  EXPECT_EQ(fs::file_size(path("file")), 8u);
  remove_socket(path("stale"));
  EXPECT_FALSE(fs::exists(path("stale")));
}

}  // namespace
}  // namespace fathom
