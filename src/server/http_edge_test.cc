// The edge over real sockets, with handlers of the tests' own.
#include "server/http_edge.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <stdexcept>
#include <thread>

namespace fathom {
namespace {

// One connection to a port of this machine.
class Client {
 public:
  explicit Client(const std::string& address) : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    EXPECT_EQ(::connect(descriptor_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  ~Client() { ::close(descriptor_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(const std::string& text) const {
    EXPECT_EQ(::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  void get(const std::string& path) const {
    send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  }
  void post(size_t bytes) const {
    send(fmt::format("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", bytes) +
         std::string(bytes, 'x'));
  }
  // Until the end, or nothing has come for so long.
  std::string read(double silence) const {
    timeval time = {.tv_sec = static_cast<time_t>(silence),
                    .tv_usec = static_cast<suseconds_t>((silence - std::floor(silence)) * 1e6)};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    std::string text;
    char buffer[65536];
    for (ssize_t count = 0; (count = ::recv(descriptor_, buffer, sizeof buffer, 0)) > 0;)
      text.append(buffer, static_cast<size_t>(count));
    return text;
  }
  std::string first_line() const {
    const std::string text = read(0.5);
    return text.substr(0, text.find('\r'));
  }

 private:
  int descriptor_;
};

class HttpEdgeTest : public ::testing::Test {
 protected:
  using Handler = std::function<std::shared_ptr<Exchange>(HttpRequest, ResponseWriter&)>;

  void start(const ServerLimits& limits, Handler handler) {
    EdgeOptions options;
    options.listen.port = 0;
    options.limits = limits;
    edge_ = HttpEdge::create(options).value();
    thread_ = std::thread([this, handler = std::move(handler)] {
      edge_->run({.handle = handler,
                  .reply_headers = [](const HttpRequest&) { return decltype(HttpReply::headers)(); },
                  .refusal = [](const HttpRequest&, const ApiError& error) { return error_reply(error); },
                  .record = [](const RequestRecord&) {},
                  .sent = [](double) {},
                  .tick = [] {},
                  .signal = [] {}});
    });
  }
  void TearDown() override {
    edge_->post([this] { edge_->stop(); });
    thread_.join();
  }
  // Waits until the task has run.
  void run_there(const std::function<void()>& task) {
    std::promise<void> done;
    edge_->post([&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  }

  static HttpReply event_stream() { return {.content_type = "text/event-stream"}; }

  std::unique_ptr<HttpEdge> edge_;
  std::thread thread_;
};

TEST_F(HttpEdgeTest, SilentStreamsGetCommentsUnlessTheIntervalIsZero) {
  for (const double interval : {0.0, 0.05}) {
    start({.ping_interval = interval}, [](const HttpRequest&, ResponseWriter& writer) {
      writer.begin_stream(event_stream());
      return std::make_shared<Exchange>();
    });
    const Client client(edge_->address());
    client.get("/");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const std::string text = client.read(0.01);
    EXPECT_NE(text.find("200 OK"), std::string::npos);
    EXPECT_EQ(text.find("\r\n:") != std::string::npos, interval > 0) << text;
    if (interval == 0) TearDown();
  }
}

TEST_F(HttpEdgeTest, LargeEventsReachAClientThatReads) {
  const std::string large(size_t{3} << 20, 'x');
  start({.max_stream_buffer_bytes = size_t{1} << 20}, [&](const HttpRequest&, ResponseWriter& writer) {
    writer.begin_stream(event_stream());
    for (int i = 0; i < 4; ++i) {
      writer.write(large);
      writer.send_now();
    }
    writer.end_stream();
    return nullptr;
  });
  const Client client(edge_->address());
  client.get("/");
  const std::string text = client.read(5);
  EXPECT_GT(text.size(), 4 * large.size());
  EXPECT_TRUE(text.ends_with("\r\n0\r\n\r\n"));
}

TEST_F(HttpEdgeTest, AClientThatDoesNotReadLosesItsStream) {
  const std::string piece(size_t{4} << 20, 'x');
  ResponseWriter* stream = nullptr;
  std::weak_ptr<Exchange> exchange;
  start({.max_stream_buffer_bytes = size_t{1} << 20}, [&](const HttpRequest&, ResponseWriter& writer) {
    writer.begin_stream(event_stream());
    stream = &writer;
    auto made = std::make_shared<Exchange>();
    exchange = made;
    return made;
  });
  const Client client(edge_->address());
  client.get("/");
  int num_pieces = 0;
  const auto add_piece = [&] {
    if (stream == nullptr || exchange.expired()) return;
    stream->write(piece);
    stream->send_now();
    ++num_pieces;
  };
  for (int i = 0; i < 200 && (num_pieces == 0 || !exchange.expired()); ++i) {
    run_there(add_piece);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(exchange.expired());
  EXPECT_LT(num_pieces, 20);
}

TEST_F(HttpEdgeTest, BodiesCountUntilTheyAreLetGo) {
  std::vector<std::shared_ptr<void>> held;
  start({.max_pending_body_bytes = 100'000}, [&held](HttpRequest request, ResponseWriter& writer) {
    held.push_back(std::move(request.body_count));
    writer.reply({});
    return nullptr;
  });
  const auto status_of_post = [this](size_t bytes) {
    const Client client(edge_->address());
    client.post(bytes);
    return client.first_line();
  };
  EXPECT_EQ(status_of_post(60'000), "HTTP/1.1 200 OK");
  EXPECT_EQ(status_of_post(60'000), "HTTP/1.1 503 Service Unavailable");
  EXPECT_EQ(status_of_post(30'000), "HTTP/1.1 200 OK");
  run_there([&held] { held.clear(); });
  EXPECT_EQ(status_of_post(60'000), "HTTP/1.1 200 OK");
}

TEST_F(HttpEdgeTest, WhatAHandlerOrTaskThrowsEndsNoOthers) {
  start({}, [](const HttpRequest& request, ResponseWriter& writer) -> std::shared_ptr<Exchange> {
    if (request.path == "/throw") throw std::bad_alloc();
    writer.reply({});
    return nullptr;
  });
  edge_->post([] { throw std::runtime_error("of a task"); });
  const Client broken(edge_->address()), whole(edge_->address());
  broken.get("/throw");
  whole.get("/");
  EXPECT_EQ(broken.first_line(), "HTTP/1.1 500 Internal Server Error");
  EXPECT_EQ(whole.first_line(), "HTTP/1.1 200 OK");
}

}  // namespace
}  // namespace fathom
