// Routes without sockets; what they answer is tested end to end.
#include "server/app.h"

#include <gtest/gtest.h>

#include "support/served_model.h"

namespace fathom::testing {
namespace {

struct LastReply : ResponseWriter {
  void reply(HttpReply reply) override { last = std::move(reply); }
  void begin_stream(HttpReply) override {}
  void write(std::string_view) override {}
  void send_now() override {}
  void end_stream() override {}
  void known_since(double) override {}

  HttpReply last;
};

class AppTest : public DemoModelTest {
 protected:
  AppTest() : app_({}, client_, metrics_, into(on_worker_), into(on_io_)) {
    auto model = ServedModel::create(*engine_, std::string(FATHOM_SOURCE_DIR) + "/models/demo", {"org/demo"},
                                     SamplingDefaults::kModel);
    app_.set_model(std::move(model).value(), nullptr);
  }

  using Tasks = std::vector<std::function<void()>>;
  static Post into(Tasks& tasks) {
    return [&tasks](std::function<void()> task) { tasks.push_back(std::move(task)); };
  }
  static void run_all(Tasks& tasks) {
    for (const auto& task : std::exchange(tasks, {})) task();
  }
  std::shared_ptr<Exchange> ask(const char* method, const char* path, std::string body = {},
                                std::shared_ptr<void> body_count = {}) {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.http_1_0 = true;
    request.body = std::move(body);
    request.body_count = std::move(body_count);
    return app_.handle(std::move(request), writer_);
  }

  ServerMetrics metrics_;
  EngineClient client_{ServerLimits(), 1, metrics_};
  Tasks on_worker_, on_io_;
  App app_;
  LastReply writer_;
};

TEST_F(AppTest, ALargeBodyCountsUntilTheWorkerHasParsedIt) {
  const std::string large = "[" + std::string(kInlineBodyBytes, ' ');
  for (const char* path : {"/tokenize", "/v1/completions", "/v1/responses", "/v1/messages", "/generate",
                           "/v2/models/org%2Fdemo/generate", "/v1/tokenizer"}) {
    auto count = std::make_shared<int>();
    const std::weak_ptr<int> counted = count;
    const auto exchange = ask("POST", path, large, std::move(count));
    EXPECT_FALSE(counted.expired()) << path;
    run_all(on_worker_);
    EXPECT_TRUE(counted.expired()) << path;
    run_all(on_io_);
    EXPECT_EQ(writer_.last.status / 100, 4) << path;
  }
}

TEST_F(AppTest, HeadReadsAndNeverActs) {
  for (const char* path :
       {"/v1/models/org%2Fdemo", "/v1/models/org/demo", "/v2/models/org%2Fdemo", "/version"}) {
    ask("HEAD", path);
    EXPECT_EQ(writer_.last.status, 200) << path;
  }
  for (const char* path : {"/stopService", "/v1/completions", "/generate"}) {
    ask("HEAD", path);
    EXPECT_EQ(writer_.last.status, 405) << path;
  }
}

}  // namespace
}  // namespace fathom::testing
