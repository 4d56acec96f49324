#include "evaluate/sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <string>

#include "base/clock.h"
#include "base/file.h"

// Not <sys/mount.h>: it and <linux/mount.h> declare the same names.
extern "C" int mount(const char* source, const char* target, const char* type, unsigned long flags,
                     const void* data);

namespace fathom {
namespace {

constexpr unsigned long kMountReadOnly = 1, kMountNoSuid = 2, kMountNoDev = 4, kMountRecursive = 16384,
                        kMountPrivate = 1 << 18;
constexpr int kAtRecursive = 0x8000;
// A user that no other process runs as, so that its limit on processes counts the program's alone.
constexpr uid_t kSandboxUser = 64999;
constexpr int kResultDescriptor = 3;  // where the program writes the token when it has come to its end

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  void reset() {
    if (value_ >= 0) ::close(value_);
    value_ = -1;
  }

 private:
  int value_;
};

// What the child says when it cannot get as far as Python; a string literal and errno.
struct ChildFailure {
  const char* step;
  int error;
};

struct ChildSetup {
  const char* python;
  SandboxLimits limits;
  bool is_root;
  char user_map[64];
  char group_map[64];
  int program;   // becomes standard input
  int null;      // becomes output and error
  int result;    // becomes kResultDescriptor
  int failures;  // closed by exec
};

// Everything below runs in the child between clone and exec, where only system calls are safe.
[[noreturn]] void fail(const ChildSetup& setup, const char* step) {
  const ChildFailure failure{step, errno};
  [[maybe_unused]] const ssize_t written = ::write(setup.failures, &failure, sizeof(failure));
  ::_exit(127);
}

bool write_small_file(const char* path, const char* text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const auto size = static_cast<ssize_t>(std::strlen(text));
  const bool done = ::write(file, text, static_cast<size_t>(size)) == size;
  ::close(file);
  return done;
}

void become_user_of_namespace(const ChildSetup& setup) {
  if (setup.is_root) return;
  if (!write_small_file("/proc/self/setgroups", "deny") ||
      !write_small_file("/proc/self/uid_map", setup.user_map) ||
      !write_small_file("/proc/self/gid_map", setup.group_map)) {
    fail(setup, "mapping the user");
  }
}

void close_file_systems(const ChildSetup& setup) {
  if (mount("none", "/", nullptr, kMountRecursive | kMountPrivate, nullptr) != 0)
    fail(setup, "making mounts private");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
  if (::syscall(SYS_mount_setattr, AT_FDCWD, "/", kAtRecursive, &attributes, sizeof(attributes)) != 0)
    fail(setup, "making file systems read-only");
  if (mount("none", "/tmp", "tmpfs", kMountNoSuid | kMountNoDev, "size=16m,mode=1777") != 0)
    fail(setup, "mounting a folder in memory");
  // Other processes are not to be seen; Python does without.
  if (mount("none", "/proc", "tmpfs", kMountNoSuid | kMountNoDev | kMountReadOnly, "size=4k") != 0)
    fail(setup, "hiding /proc");
  if (::chdir("/tmp") != 0) fail(setup, "entering the folder in memory");
}

void limit(const ChildSetup& setup, int resource, int64_t value) {
  const rlimit both{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &both) != 0) fail(setup, "setting limits");
}

void set_limits(const ChildSetup& setup) {
  limit(setup, RLIMIT_CPU, setup.limits.seconds);
  limit(setup, RLIMIT_AS, setup.limits.memory_bytes);
  limit(setup, RLIMIT_FSIZE, setup.limits.file_bytes);
  limit(setup, RLIMIT_NPROC, setup.limits.processes);
  limit(setup, RLIMIT_NOFILE, 64);
  limit(setup, RLIMIT_CORE, 0);
}

void give_up_rights(const ChildSetup& setup) {
  if (setup.is_root &&
      (::setgroups(0, nullptr) != 0 || ::setresgid(kSandboxUser, kSandboxUser, kSandboxUser) != 0 ||
       ::setresuid(kSandboxUser, kSandboxUser, kSandboxUser) != 0)) {
    fail(setup, "giving up root's rights");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(setup, "giving up new rights");
  // Dies with us; set last, for a change of user clears it.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail(setup, "tying its life to ours");
}

void arrange_descriptors(const ChildSetup& setup) {
  // Copies above all that is in use, so that none is overwritten before it is placed.
  const int program = ::fcntl(setup.program, F_DUPFD, 100), null = ::fcntl(setup.null, F_DUPFD, 100),
            result = ::fcntl(setup.result, F_DUPFD, 100),
            failures = ::fcntl(setup.failures, F_DUPFD_CLOEXEC, 100);
  if (program < 0 || null < 0 || result < 0 || failures < 0 || ::dup2(program, 0) < 0 ||
      ::dup2(null, 1) < 0 || ::dup2(null, 2) < 0 || ::dup2(result, kResultDescriptor) < 0) {
    fail(setup, "arranging its files");
  }
  ::close(program);
  ::close(null);
  ::close(result);
  // The rest is closed by exec.
  ::syscall(SYS_close_range, kResultDescriptor + 1, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
}

[[noreturn]] void run_child(const ChildSetup& setup) {
  become_user_of_namespace(setup);
  close_file_systems(setup);
  arrange_descriptors(setup);
  set_limits(setup);
  give_up_rights(setup);
  const char* arguments[] = {"python3", "-I", "-B", "-", nullptr};
  const char* environment[] = {"PATH=/usr/bin:/bin", "HOME=/tmp", "LC_ALL=C.UTF-8", nullptr};
  ::execve(setup.python, const_cast<char**>(arguments), const_cast<char**>(environment));
  fail(setup, "starting python3");
}

// The child is process 1 of its namespace: with it end all others in there.
class SandboxProcess {
 public:
  explicit SandboxProcess(pid_t pid) : pid_(pid) {}
  ~SandboxProcess() { end(); }
  SandboxProcess(const SandboxProcess&) = delete;
  SandboxProcess& operator=(const SandboxProcess&) = delete;

  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }

 private:
  pid_t pid_;
};

Result<const char*> find_python() {
  for (const char* path : {"/usr/bin/python3", "/usr/local/bin/python3"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  return not_found("the sandbox needs python3 in /usr/bin or /usr/local/bin (apt-get install python3)");
}

std::string random_token() {
  std::random_device device;
  std::string token;
  for (int i = 0; i < 4; ++i) token += fmt::format("{:08x}", device());
  return token;
}

// Program and token in a file in memory, at its start.
Status write_program(int file, std::string_view program, const std::string& token) {
  const std::string text =
      fmt::format("{}\nimport os\nos.write({}, b'{}')\n", program, kResultDescriptor, token);
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(file, text.data() + done, text.size() - done);
    if (written < 0) return io_error("sandbox: writing the program: {}", std::strerror(errno));
    done += static_cast<size_t>(written);
  }
  ::lseek(file, 0, SEEK_SET);
  return ok_status();
}

// Reads what the program says until it has said the token or something else, has ended, or the time is over.
SandboxVerdict await(int result, const std::string& token, int64_t seconds) {
  const double deadline = monotonic_seconds() + static_cast<double>(seconds);
  std::string said;
  while (true) {
    const double left = deadline - monotonic_seconds();
    pollfd waiting{result, POLLIN, 0};
    const int ready = left > 0 ? ::poll(&waiting, 1, static_cast<int>(left * 1000) + 1) : 0;
    if (ready == 0) return SandboxVerdict::kTimedOut;
    if (ready < 0) continue;  // a signal
    char part[64];
    const ssize_t size = ::read(result, part, sizeof(part));
    if (size <= 0) return SandboxVerdict::kFailed;
    said.append(part, static_cast<size_t>(size));
    if (said == token) return SandboxVerdict::kPassed;
    if (!token.starts_with(said)) return SandboxVerdict::kFailed;
  }
}

Status start_failure(int error) {
  return unsupported(
      "the sandbox needs Linux namespaces and is refused them ({}); allow user namespaces (sysctl "
      "kernel.unprivileged_userns_clone=1, user.max_user_namespaces), or run outside of a container",
      std::strerror(error));
}

}  // namespace

Result<SandboxVerdict> run_sandboxed(std::string_view program, const SandboxLimits& limits) {
  // Python takes no source with such bytes, but reads past them from standard input.
  if (program.find('\0') != std::string_view::npos) return SandboxVerdict::kFailed;
  FATHOM_ASSIGN_OR_RETURN(const char* python, find_python());
  const std::string token = random_token();
  int result[2], failures[2];
  if (::pipe2(result, O_CLOEXEC) != 0) return io_error("sandbox: pipe: {}", std::strerror(errno));
  Descriptor result_out(result[0]), result_in(result[1]);
  if (::pipe2(failures, O_CLOEXEC) != 0) return io_error("sandbox: pipe: {}", std::strerror(errno));
  Descriptor failures_out(failures[0]), failures_in(failures[1]);
  Descriptor source(::memfd_create("program", MFD_CLOEXEC)), null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (source.get() < 0 || null.get() < 0) return io_error("sandbox: files: {}", std::strerror(errno));
  FATHOM_RETURN_IF_ERROR(write_program(source.get(), program, token));

  ChildSetup setup{.python = python,
                   .limits = limits,
                   .is_root = ::geteuid() == 0,
                   .user_map = {},
                   .group_map = {},
                   .program = source.get(),
                   .null = null.get(),
                   .result = result_in.get(),
                   .failures = failures_in.get()};
  *fmt::format_to_n(setup.user_map, sizeof(setup.user_map) - 1, "{} {} 1", kSandboxUser, ::geteuid()).out = 0;
  *fmt::format_to_n(setup.group_map, sizeof(setup.group_map) - 1, "{} {} 1", kSandboxUser, ::getegid()).out =
      0;
  // Root needs no namespace of users, and would stay the owner of root's files in one.
  const unsigned long flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                              (setup.is_root ? 0UL : static_cast<unsigned long>(CLONE_NEWUSER));
  const long pid = ::syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid < 0) return start_failure(errno);
  if (pid == 0) run_child(setup);
  SandboxProcess process(static_cast<pid_t>(pid));
  result_in.reset();
  failures_in.reset();

  const SandboxVerdict verdict = await(result_out.get(), token, limits.seconds);
  process.end();
  ChildFailure failure{};
  if (::read(failures_out.get(), &failure, sizeof(failure)) == sizeof(failure))
    return unsupported("the sandbox could not be set up: {}: {}", failure.step, std::strerror(failure.error));
  return verdict;
}

Status check_sandbox() {
  FATHOM_ASSIGN_OR_RETURN(const SandboxVerdict verdict, run_sandboxed("pass", {.seconds = 30}));
  if (verdict == SandboxVerdict::kPassed) return ok_status();
  return unsupported("the sandbox cannot run an empty program: python3 {}",
                     verdict == SandboxVerdict::kTimedOut ? "hangs" : "fails");
}

}  // namespace fathom
