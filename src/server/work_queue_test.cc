#include "server/work_queue.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace fathom {
namespace {

struct WorkExchange : Exchange {
  void break_off(const std::string& cause) override { causes.push_back(cause); }
  std::vector<std::string> causes;
};

// Both threads are this one, when the test says so.
class WorkQueueTest : public ::testing::Test {
 protected:
  static Post into(std::vector<std::function<void()>>& tasks) {
    return [&tasks](std::function<void()> task) { tasks.push_back(std::move(task)); };
  }
  static void run_all(std::vector<std::function<void()>>& tasks) {
    for (const auto& task : std::exchange(tasks, {})) task();
  }

  std::vector<std::function<void()>> on_worker_, on_io_;
  WorkQueue queue_{into(on_worker_), into(on_io_)};
  std::shared_ptr<WorkExchange> exchange_ = std::make_shared<WorkExchange>();
};

TEST_F(WorkQueueTest, WorksThereAndGoesOnHere) {
  int step = 0;
  queue_.run(exchange_, [&step]() -> std::function<void()> {
    step = 1;
    return [&step] { step = 2; };
  });
  EXPECT_EQ(step, 0);
  run_all(on_worker_);
  EXPECT_EQ(step, 1);
  run_all(on_io_);
  EXPECT_EQ(step, 2);
  EXPECT_TRUE(exchange_->causes.empty());
}

TEST_F(WorkQueueTest, WhoLeftCausesNoWork) {
  queue_.run(exchange_, []() -> std::function<void()> { throw std::runtime_error("never run"); });
  exchange_.reset();
  run_all(on_worker_);
  EXPECT_TRUE(on_io_.empty());
}

TEST_F(WorkQueueTest, AnExceptionBreaksOffItsOwnExchange) {
  queue_.run(exchange_, []() -> std::function<void()> { throw std::bad_alloc(); });
  queue_.run(exchange_, [] { return [] { throw std::runtime_error("of the result"); }; });
  run_all(on_worker_);
  run_all(on_io_);
  ASSERT_EQ(exchange_->causes.size(), 2u);
  EXPECT_EQ(exchange_->causes[1], "of the result");
}

TEST_F(WorkQueueTest, LittleIsDoneAtOnce) {
  bool done = false;
  queue_.run_sized(100, exchange_, [&done] { return [&done] { done = true; }; });
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace fathom
