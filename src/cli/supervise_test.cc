#include "cli/supervise.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/file.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

using std::chrono::seconds;

TEST(RestartPolicy, WaitsLongerAndEndsUnlessARunWasGood) {
  RestartPolicy policy(8);
  for (int expected : {1, 2, 4, 8, 16, 30, 30})
    EXPECT_EQ(policy.after_failure(seconds(599)), seconds(expected));
  EXPECT_EQ(policy.num_done(), 7);
  EXPECT_EQ(policy.after_failure(seconds(600)), seconds(1));
  for (int i = 0; i < 7; ++i) EXPECT_TRUE(policy.after_failure(seconds(0)));
  EXPECT_FALSE(policy.after_failure(seconds(0)));
  EXPECT_FALSE(RestartPolicy(0).after_failure(seconds(600)));
}

// supervise() in a process of its own, which it changes for good.
class SuperviseTest : public ::testing::Test {
 protected:
  void start(const std::string& script, int num_restarts = 0) {
    process_ = ::fork();
    if (process_ != 0) return;
    const auto status = supervise({"sh", "-c", script, "sh", file_}, num_restarts);
    ::_exit(status.ok() ? *status : 99);
  }
  // Exits, 0 to 127.
  int exit_status() const {
    int status = 0;
    ::waitpid(process_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string text() const { return read_file(file_, 1000).ok() ? *read_file(file_, 1000) : ""; }
  void wait_for_text(const std::string& wanted) const {
    while (text() != wanted) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  testing::TempDir folder_;
  std::string file_ = folder_.file("written");
  pid_t process_ = 0;
};

TEST_F(SuperviseTest, GivesTheCommandsStatus) {
  start("exit 3");
  EXPECT_EQ(exit_status(), 3);
  start("kill -KILL $$");
  EXPECT_EQ(exit_status(), 128 + SIGKILL);
}

TEST_F(SuperviseTest, StartsAFailedCommandAgain) {
  start("echo x >>$1; [ $(wc -l <$1) = 2 ]", 5);
  EXPECT_EQ(exit_status(), 0);
  EXPECT_EQ(text(), "x\nx\n");
  start("exit 4", 1);
  EXPECT_EQ(exit_status(), 4);
}

TEST_F(SuperviseTest, HandsSignalsOn) {
  start("trap 'echo drains >>$1' USR1; trap 'exit 5' TERM; echo is there >>$1; while :; do sleep 0.01; done",
        5);
  wait_for_text("is there\n");
  ::kill(process_, SIGTERM);
  wait_for_text("is there\ndrains\n");
  ::kill(process_, SIGTERM);
  EXPECT_EQ(exit_status(), 5);  // and not again
}

TEST_F(SuperviseTest, EndsWhatACommandLeavesBehind) {
  start("(trap '' TERM; exec sleep 1000) & echo $! >$1; exit 6");
  EXPECT_EQ(exit_status(), 6);
  EXPECT_EQ(::kill(std::stoi(text()), 0), -1);
}

TEST(Supervise, SaysThatThereIsNoCommand) {
  const pid_t process = ::fork();
  if (process == 0) {
    const auto status = supervise({"/no/such/command"}, 3);
    ::_exit(status.status().code() == ErrorCode::kNotFound ? 0 : 1);
  }
  int status = 0;
  ::waitpid(process, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace fathom
