#include "cli/supervise.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/log.h"

namespace fathom {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr seconds kLongestWait{30};
// What the command's own children may need to end after it, and then what the system may need to end them.
constexpr seconds kOrphanSeconds{3};
constexpr seconds kKillSeconds{10};

class Supervisor {
 public:
  Supervisor() {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // orphans come to this process, not to init
    sigemptyset(&signals_);
    for (int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&signals_, signal);
    ::sigprocmask(SIG_BLOCK, &signals_, &old_mask_);
  }
  ~Supervisor() { ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr); }

  // The exit status of one run.
  Result<int> run(const std::vector<std::string>& words);
  // Returns early where it is told to end.
  void wait_for(seconds time) {
    handle_signals_until(Clock::now() + time, [this] { return told_to_end_; });
  }
  bool told_to_end() const { return told_to_end_; }

 private:
  Status start(const std::vector<std::string>& words);
  template <typename Condition>
  void handle_signals_until(Clock::time_point end, const Condition& condition);
  void handle(const siginfo_t& signal);
  void hand_on_end();
  void reap();
  void end_orphans();

  sigset_t signals_;
  sigset_t old_mask_;
  pid_t command_ = 0;  // 0: none
  int exit_status_ = 0;
  bool has_children_ = false;
  bool told_to_end_ = false;
};

Result<int> Supervisor::run(const std::vector<std::string>& words) {
  FATHOM_RETURN_IF_ERROR(start(words));
  handle_signals_until(Clock::time_point::max(), [this] { return command_ == 0; });
  end_orphans();
  return exit_status_;
}

Status Supervisor::start(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  int report[2];  // closed by exec, else the child's errno
  if (::pipe2(report, O_CLOEXEC) != 0) return io_error("pipe: {}", std::strerror(errno));
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
    if (::getppid() == parent) ::execvp(arguments[0], arguments.data());
    const int error = errno;
    ::_exit(::write(report[1], &error, sizeof error) == sizeof error ? 127 : 126);
  }
  int error = child < 0 ? errno : 0;
  ::close(report[1]);
  if (child > 0 && ::read(report[0], &error, sizeof error) == sizeof error) ::waitpid(child, nullptr, 0);
  ::close(report[0]);
  if (error == ENOENT) return not_found("{}: no such command", words[0]);
  if (error != 0) return io_error("{}: {}", words[0], std::strerror(error));
  command_ = child;
  has_children_ = true;
  return ok_status();
}

template <typename Condition>
void Supervisor::handle_signals_until(Clock::time_point end, const Condition& condition) {
  while (!condition()) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(end - Clock::now());
    if (left.count() <= 0) return;
    const seconds whole = std::min(std::chrono::duration_cast<seconds>(left), seconds(3600));
    const timespec time{.tv_sec = whole.count(), .tv_nsec = (left % seconds(1)).count()};
    siginfo_t signal;
    if (::sigtimedwait(&signals_, &signal, &time) > 0) handle(signal);
  }
}

void Supervisor::handle(const siginfo_t& signal) {
  if (signal.si_signo == SIGCHLD) return reap();
  if (signal.si_signo == SIGINT && signal.si_code == SI_KERNEL) {
    told_to_end_ = true;  // the terminal has told the command too
    return;
  }
  hand_on_end();
}

void Supervisor::hand_on_end() {
  const bool first = !std::exchange(told_to_end_, true);
  if (command_ != 0) ::kill(command_, first ? SIGUSR1 : SIGTERM);
}

void Supervisor::reap() {
  while (true) {
    int status = 0;
    const pid_t child = ::waitpid(-1, &status, WNOHANG);
    if (child < 0) has_children_ = false;
    if (child <= 0) return;
    if (child != command_) continue;
    command_ = 0;
    exit_status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

// What is left of a command that was itself killed, above all.
void Supervisor::end_orphans() {
  handle_signals_until(Clock::now() + kOrphanSeconds, [this] { return !has_children_; });
  if (!has_children_) return;
  const Clock::time_point end = Clock::now() + kKillSeconds;
  while (has_children_ && Clock::now() < end) {
    // Those killed leave theirs to this process: once more until there are none.
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::ifstream children(task.path() / "children");
      for (pid_t child = 0; children >> child;) ::kill(child, SIGKILL);
    }
    handle_signals_until(Clock::now() + std::chrono::milliseconds(100), [this] { return !has_children_; });
    reap();
  }
}

}  // namespace

std::optional<seconds> RestartPolicy::after_failure(seconds lasted) {
  if (lasted >= kGoodRun) num_done_ = 0;
  if (num_done_ == num_restarts_) return std::nullopt;
  return std::min(seconds(1) * (1 << std::min(num_done_++, 5)), kLongestWait);
}

Result<int> supervise(const std::vector<std::string>& words, int num_restarts) {
  Supervisor supervisor;
  RestartPolicy policy(num_restarts);
  while (true) {
    const Clock::time_point begin = Clock::now();
    FATHOM_ASSIGN_OR_RETURN(const int status, supervisor.run(words));
    if (status == 0 || supervisor.told_to_end()) return status;
    const auto pause = policy.after_failure(std::chrono::duration_cast<seconds>(Clock::now() - begin));
    if (!pause) return status;
    log_warning("the ranks ended with status {}: start {} of {} again in {} s", status, policy.num_done(),
                num_restarts, pause->count());
    supervisor.wait_for(*pause);
    if (supervisor.told_to_end()) return status;
  }
}

}  // namespace fathom
