#include "benchmark/peak_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <string_view>

#include "base/file.h"

namespace fathom {

void reset_peak_memory() {
  const int descriptor = ::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  [[maybe_unused]] const ssize_t written = ::write(descriptor, "5", 1);  // 5: forget the peak only
  ::close(descriptor);
}

uint64_t peak_memory_bytes() {
  constexpr std::string_view kName = "VmHWM:";
  const std::string status = read_system_file("/proc/self/status");
  const size_t line = status.find(kName);
  if (line == std::string::npos) return 0;
  const size_t digits = status.find_first_of("0123456789", line);
  if (digits == std::string::npos) return 0;
  uint64_t kilobytes = 0;
  std::from_chars(status.data() + digits, status.data() + status.size(), kilobytes);
  return kilobytes * 1024;
}

}  // namespace fathom
