#include "server/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <optional>
#include <sstream>

#include "base/file.h"
#include "server/metrics.h"

namespace fathom {
namespace {

// Seconds since 1970, when the process began; nothing where the system does not tell.
std::optional<double> start_time() {
  const std::string stat = read_system_file("/proc/self/stat");
  // Its name, in brackets, may hold anything; the 20th field after it counts clock ticks since the boot.
  std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  std::string skipped;
  for (int i = 0; i < 19; ++i) fields >> skipped;
  double ticks = 0;
  timespec now{}, since_boot{};
  if (!(fields >> ticks) || ::clock_gettime(CLOCK_REALTIME, &now) != 0 ||
      ::clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0) {
    return std::nullopt;
  }
  const auto seconds = static_cast<double>(now.tv_sec - since_boot.tv_sec);
  return seconds + ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

std::string process_metrics(std::string_view version) {
  MetricsText text("", {});
  const auto add = [&text](std::string_view name, std::string_view type, std::string_view help,
                           double value) {
    text.family(name, type, help);
    text.sample(value);
  };
  if (const auto start = start_time())
    add("process_start_time_seconds", "gauge", "When the process began, since 1970.", *start);
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    add("process_cpu_seconds_total", "counter", "CPU time of all threads.",
        seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
  }
  double virtual_pages = 0, resident_pages = 0;
  std::istringstream statm(read_system_file("/proc/self/statm"));
  if (statm >> virtual_pages >> resident_pages) {
    const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
    add("process_virtual_memory_bytes", "gauge", "Address space.", virtual_pages * page);
    add("process_resident_memory_bytes", "gauge", "Memory in use.", resident_pages * page);
  }
  std::error_code error;
  const std::filesystem::directory_iterator files("/proc/self/fd", error);
  if (!error) {
    add("process_open_fds", "gauge", "Open files.",
        static_cast<double>(std::distance(begin(files), end(files))));
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    add("process_max_fds", "gauge", "Files that may be open.", static_cast<double>(limit.rlim_cur));
  text.family("fathom_build_info", "gauge", "1, with what was built.");
  text.sample(1, {{"version", std::string(version)}});
  return text.take();
}

}  // namespace fathom
