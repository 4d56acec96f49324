#include "server/generation_exchange.h"

#include <gtest/gtest.h>

#include <future>
#include <stdexcept>

namespace fathom {
namespace {

struct KeptReply : ResponseWriter {
  void reply(HttpReply reply) override { replies.push_back(std::move(reply)); }
  void begin_stream(HttpReply) override {}
  void write(std::string_view bytes) override { written += bytes; }
  void send_now() override {}
  void end_stream() override { ended = true; }
  void known_since(double) override {}

  std::vector<HttpReply> replies;
  std::string written;
  bool ended = false;
};

class TestExchange : public GenerationExchange {
 public:
  TestExchange(EngineClient& client, ResponseWriter& writer, bool fails)
      : GenerationExchange(client, writer), fails_(fails) {}
  void start(bool streams) {
    GenerationRequest request;
    request.prompts = {{1}};
    begin(std::move(request), streams ? Delivery::kStream : Delivery::kWhole);
  }

 private:
  void opened() override {}
  void take(const GenerationEvent&) override {
    if (fails_ && state() == State::kStreaming) throw std::runtime_error("of a piece");
  }
  void finish_whole() override {
    if (fails_) throw std::bad_alloc();
    finish_with({.body = "whole"});
  }
  std::string stream_end() override { return "end"; }
  HttpReply refusal(const ApiError& error) const override { return error_reply(error); }
  std::string stream_failure(const ApiError& error) override { return std::to_string(error.status); }

  bool fails_;
};

// Over an engine that is never done loading: the test says what it brings.
class GenerationExchangeTest : public ::testing::Test {
 protected:
  GenerationExchangeTest()
      : thread_(
            [this]() -> Result<std::unique_ptr<Engine>> {
              release_.get_future().wait();
              return io_error("released");
            },
            EngineThread::Callbacks{.loaded = [](const Engine&) {},
                                    .report = [](EngineReport) {},
                                    .failed = [](const EngineFailure&) {}}) {
    client_.attach(&thread_);
    client_.set_phase(EnginePhase::kReady);
  }
  ~GenerationExchangeTest() override {
    release_.set_value();
    client_.attach(nullptr);
  }

  void deliver_ends(uint64_t num_tickets) {
    EngineReport report;
    for (uint64_t i = 1; i <= num_tickets; ++i)
      report.events.push_back({.ticket = i, .kind = GenerationEventKind::kAccepted});
    for (uint64_t i = 1; i <= num_tickets; ++i) {
      report.events.push_back(
          {.ticket = i, .kind = GenerationEventKind::kToken, .finish_reason = FinishReason::kLength});
    }
    client_.deliver(report);
  }

  ServerMetrics metrics_;
  EngineClient client_{ServerLimits(), 4, metrics_};
  std::promise<void> release_;
  EngineThread thread_;
};

TEST_F(GenerationExchangeTest, AnExceptionIsItsOwnRequestsAlone) {
  KeptReply broken_writer, stream_writer, whole_writer;
  TestExchange broken(client_, broken_writer, true), stream(client_, stream_writer, true),
      whole(client_, whole_writer, false);
  broken.start(false);
  stream.start(true);
  whole.start(false);
  deliver_ends(3);
  ASSERT_EQ(broken_writer.replies.size(), 1u);
  EXPECT_EQ(broken_writer.replies[0].status, 500);
  EXPECT_NE(broken.log_note().find("bad_alloc"), std::string::npos);
  EXPECT_EQ(stream_writer.written, "500");
  EXPECT_TRUE(stream_writer.ended);
  ASSERT_EQ(whole_writer.replies.size(), 1u);
  EXPECT_EQ(whole_writer.replies[0].body, "whole");
  broken.break_off("again");
  EXPECT_EQ(broken_writer.replies.size(), 1u);
}

}  // namespace
}  // namespace fathom
