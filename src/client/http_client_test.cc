#include "client/http_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace fathom {
namespace {

constexpr const char* kOk =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

enum class AfterReply { kStay, kClose };

// Answers every request on a port of its own with the same bytes, in pieces. A request ends with its head.
class ScriptedServer {
 public:
  ScriptedServer(std::vector<std::string> pieces, AfterReply after)
      : pieces_(std::move(pieces)), after_(after) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(listener_, 64), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    url_ = fmt::format("http://127.0.0.1:{}", ntohs(address.sin_port));
    acceptor_ = std::thread([this] { accept(); });
  }
  ~ScriptedServer() {
    ending_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    for (int connection : connections_) ::shutdown(connection, SHUT_RDWR);
    for (std::thread& thread : threads_) thread.join();
    for (int connection : connections_) ::close(connection);
  }

  const std::string& url() const { return url_; }
  std::atomic<int> num_connections = 0, num_requests = 0;
  std::atomic<bool> was_left = false;                 // a client closed its connection
  std::atomic<size_t> num_allowed_pieces = SIZE_MAX;  // further ones wait

 private:
  void accept() {
    for (int connection; (connection = ::accept(listener_, nullptr, nullptr)) >= 0;) {
      ++num_connections;
      connections_.push_back(connection);
      threads_.emplace_back([this, connection] { serve(connection); });
    }
  }

  void serve(int connection) {
    std::string input;
    char buffer[4096];
    while (true) {
      const ssize_t count = ::recv(connection, buffer, sizeof buffer, 0);
      if (count <= 0) break;
      input.append(buffer, static_cast<size_t>(count));
      if (!input.ends_with("\r\n\r\n")) continue;
      ++num_requests;
      input.clear();
      for (size_t i = 0; i < pieces_.size(); ++i) {
        while (i >= num_allowed_pieces && !ending_) std::this_thread::yield();
        ::send(connection, pieces_[i].data(), pieces_[i].size(), MSG_NOSIGNAL);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      if (after_ == AfterReply::kClose) return void(::shutdown(connection, SHUT_RDWR));
    }
    was_left = true;
  }

  std::vector<std::string> pieces_;
  std::atomic<bool> ending_ = false;
  AfterReply after_;
  int listener_ = -1;
  std::string url_;
  std::thread acceptor_;
  std::vector<std::thread> threads_;
  std::vector<int> connections_;
};

std::unique_ptr<HttpClient> client_for(const std::string& url, double silence_timeout = 60) {
  HttpClientOptions options;
  options.url = *parse_url(url);
  options.silence_timeout = silence_timeout;
  auto client = HttpClient::create(std::move(options));
  EXPECT_TRUE(client.ok());
  return std::move(client).value();
}

TEST(HttpClient, KeepsItsConnection) {
  ScriptedServer server({kOk}, AfterReply::kStay);
  const auto client = client_for(server.url());
  for (int i = 0; i < 3; ++i) {
    const ClientReply reply = client->call({"GET", "/x"});
    ASSERT_TRUE(reply.status.ok()) << reply.status.message();
    EXPECT_EQ(reply.code, 200);
    EXPECT_EQ(reply.body, "{}");
  }
  EXPECT_EQ(server.num_connections, 1);
  EXPECT_EQ(server.num_requests, 3);
}

// The server says nothing of closing, and closes: the next call finds a dead connection and gets a new one.
TEST(HttpClient, AKeptConnectionMayHaveDied) {
  ScriptedServer server({kOk}, AfterReply::kClose);
  const auto client = client_for(server.url());
  for (int i = 0; i < 3; ++i) {
    const ClientReply reply = client->call({"GET", "/x"});
    ASSERT_TRUE(reply.status.ok()) << reply.status.message();
  }
  EXPECT_EQ(server.num_connections, 3);
}

TEST(HttpClient, EventsInPieces) {
  ScriptedServer server({"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Enc",
                         "oding: chunked\r\n\r\n8\r\ndata: a", "b\r\n", "c\r\nc\n\ndata: d\n\n\r\n0\r\n\r\n"},
                        AfterReply::kStay);
  const auto client = client_for(server.url());
  std::vector<std::string> events;
  ClientReply end;
  client->start(
      {"GET", "/x"}, [&](std::string_view data) { events.emplace_back(data); },
      [&](ClientReply reply) { end = std::move(reply); });
  client->run();
  EXPECT_TRUE(end.status.ok()) << end.status.message();
  EXPECT_TRUE(end.is_event_stream);
  EXPECT_EQ(events, (std::vector<std::string>{"abc", "d"}));
}

// The server sends the next event only once the client has had the one before.
TEST(HttpClient, EventsComeWhenTheyAreSent) {
  const std::string head =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string event = "9\r\ndata: x\n\n\r\n";
  ScriptedServer server({head + event, event, event, "0\r\n\r\n"}, AfterReply::kStay);
  server.num_allowed_pieces = 1;
  const auto client = client_for(server.url(), 10);
  Status status;
  client->start(
      {"GET", "/x"}, [&](std::string_view) { ++server.num_allowed_pieces; },
      [&](const ClientReply& reply) { status = reply.status; });
  client->run();
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(server.num_allowed_pieces, 4u);
}

TEST(HttpClient, ManyCallsAtOnce) {
  constexpr int kCalls = 50;
  ScriptedServer server({kOk}, AfterReply::kStay);
  const auto client = client_for(server.url());
  int num_ok = 0;
  for (int i = 0; i < kCalls; ++i) {
    client->start({"GET", "/x"}, {}, [&](const ClientReply& reply) { num_ok += reply.status.ok() ? 1 : 0; });
  }
  client->run();
  EXPECT_EQ(num_ok, kCalls);
  EXPECT_EQ(server.num_requests, kCalls);
}

TEST(HttpClient, SilenceEndsACall) {
  ScriptedServer server({}, AfterReply::kStay);
  const auto client = client_for(server.url(), 0.2);
  EXPECT_NE(client->call({"GET", "/x"}).status.message().find("silent for 0.2 s"), std::string::npos);
}

TEST(HttpClient, CancellingLeavesTheServer) {
  ScriptedServer server({}, AfterReply::kStay);
  const auto client = client_for(server.url());
  ClientReply end;
  bool task_ran = false;
  client->start({"GET", "/x"}, {}, [&](ClientReply reply) { end = std::move(reply); });
  client->at(monotonic_seconds() + 1000, [&] { task_ran = true; });
  EXPECT_TRUE(client->run_for(0.05));
  client->cancel_all();
  client->run();
  EXPECT_EQ(end.status.code(), ErrorCode::kCancelled);
  EXPECT_FALSE(task_ran);
  while (!server.was_left) std::this_thread::yield();
}

TEST(HttpClient, TasksMayStartCalls) {
  ScriptedServer server({kOk}, AfterReply::kStay);
  const auto client = client_for(server.url());
  std::vector<int> order;
  client->at(monotonic_seconds() + 0.02, [&] {
    client->start({"GET", "/x"}, {}, [&](const ClientReply&) { order.push_back(2); });
  });
  client->at(0, [&] { order.push_back(1); });
  client->run();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(HttpClient, RefusesAKeyThatIsNoHeader) {
  HttpClientOptions options;
  options.url = *parse_url("http://127.0.0.1:1");
  options.api_key = "secret\r\nX: y";
  const auto client = HttpClient::create(std::move(options));
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.status().message().find("secret"), std::string::npos);
}

}  // namespace
}  // namespace fathom
