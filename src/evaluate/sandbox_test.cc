// Programs that behave and programs that do not.
#include "evaluate/sandbox.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Status status = check_sandbox();
    if (!status.ok()) GTEST_SKIP() << status.message();
  }

  SandboxVerdict run(const std::string& program, const SandboxLimits& limits = {.seconds = 20}) {
    const auto verdict = run_sandboxed(program, limits);
    EXPECT_TRUE(verdict.ok()) << verdict.status().message();
    return verdict.ok() ? *verdict : SandboxVerdict::kFailed;
  }
};

constexpr auto kPassed = SandboxVerdict::kPassed, kFailed = SandboxVerdict::kFailed,
               kTimedOut = SandboxVerdict::kTimedOut;

TEST_F(SandboxTest, TheEndIsWhatCounts) {
  EXPECT_EQ(run("x = 1\nassert x == 1"), kPassed);
  EXPECT_EQ(run("print('ok' * 100000)\nopen('f', 'w').write('x')"), kPassed);
  EXPECT_EQ(run("def f():\n    return 1"), kPassed);
  EXPECT_EQ(run("assert False"), kFailed);
  EXPECT_EQ(run("this is no Python"), kFailed);
  EXPECT_EQ(run("x = '''"), kFailed);
  EXPECT_EQ(run(std::string("x = 1\n\0", 7)), kFailed);
}

TEST_F(SandboxTest, LeavingEarlyIsNoPass) {
  EXPECT_EQ(run("import sys; sys.exit(0)"), kFailed);
  EXPECT_EQ(run("import os; os._exit(0)"), kFailed);
  EXPECT_EQ(run("import os; os.write(3, b'passed'); os._exit(0)"), kFailed);
  EXPECT_EQ(run("import os; os.close(3)"), kFailed);
  EXPECT_EQ(run("import os; os.kill(os.getpid(), 9)\nwhile True: os.abort()"), kFailed);
}

TEST_F(SandboxTest, TimeIsUp) {
  EXPECT_EQ(run("import time; time.sleep(100)", {.seconds = 1}), kTimedOut);
  const SandboxVerdict busy = run("while True: pass", {.seconds = 1});
  EXPECT_NE(busy, kPassed);  // by the clock or by the limit on CPU time, whichever comes first
  EXPECT_EQ(run("import os, time\nos.setsid() if os.fork() == 0 else None\ntime.sleep(100)", {.seconds = 1}),
            kTimedOut);
}

TEST_F(SandboxTest, NoNetwork) {
  EXPECT_EQ(run("import socket\n"
                "try: socket.create_connection(('127.0.0.1', 22), 1); found = True\n"
                "except OSError as e: found = e.errno\n"
                "import errno\n"
                "assert found in (errno.ENETUNREACH, errno.EADDRNOTAVAIL), found\n"
                "assert [name for _, name in socket.if_nameindex()] in ([], ['lo'])"),
            kPassed);
}

TEST_F(SandboxTest, NothingOutsideCanBeWritten) {
  const TempDir folder;  // in /tmp, which the program does not see
  ASSERT_EQ(::chmod(folder.file("").c_str(), 0777), 0);
  const std::string program =
      "import os\n"
      "for path in ['" +
      folder.file("x") +
      "', '/var/tmp/fathom_sandbox', '/dev/shm/fathom_sandbox', "
      "os.path.expanduser('~root/x'), '/x']:\n"
      "    try:\n"
      "        open(path, 'w').write('x')\n"
      "    except OSError:\n"
      "        continue\n"
      "    raise SystemError(path)\n"
      "assert os.listdir('/tmp') == [] and os.listdir('/proc') == []\n"
      "open('/tmp/mine', 'w').write('x')";
  EXPECT_EQ(run(program), kPassed);
  EXPECT_NE(::access(folder.file("x").c_str(), F_OK), 0);
  EXPECT_EQ(run("import os; assert os.listdir('/tmp') == []"), kPassed);  // nothing stays
}

TEST_F(SandboxTest, NoRightsOfRoot) {
  EXPECT_EQ(
      run("import os; assert os.getuid() != 0 and os.geteuid() != 0 and os.getgroups() in ([], [65534])"),
      kPassed);
  EXPECT_EQ(run("import os; os.setuid(0)"), kFailed);
  EXPECT_EQ(run("import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.mount(b'none', b'/tmp', b'tmpfs', 0, "
                "0) != 0"),
            kPassed);
  EXPECT_EQ(run("import os\nassert os.getpid() == 1\ntry: os.kill(" + std::to_string(::getpid()) +
                ", 0)\nexcept ProcessLookupError: pass\nelse: assert False"),
            kPassed);
}

TEST_F(SandboxTest, LimitsHold) {
  EXPECT_EQ(run("x = bytearray(2 << 30)"), kFailed);
  EXPECT_EQ(run("open('/tmp/big', 'w').write('x' * (2 << 20))"), kFailed);
  EXPECT_EQ(run("import os, time\n"
                "for i in range(100):\n"
                "    if os.fork() == 0: time.sleep(100)"),
            kFailed);
  EXPECT_EQ(run("f = [open('/dev/null') for i in range(100)]"), kFailed);
}

TEST_F(SandboxTest, LongPrograms) {
  EXPECT_EQ(run("x = '" + std::string(300'000, 'y') + "'\nassert len(x) == 300000"), kPassed);
}

}  // namespace
}  // namespace fathom::testing
