#include "base/memory_info.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string_view>

#include "base/file.h"

namespace fathom {
namespace {

// Version 1 writes "no limit" as the largest multiple of a page; nothing real is that large.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;
constexpr int kMaxParents = 64;

// The names of one version's files.
struct CgroupFiles {
  const char* limit;
  const char* usage;
  const char* inactive_cache;  // lines of memory.stat: file pages that can be given back
  const char* active_cache;
};
constexpr CgroupFiles kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                                   "total_active_file"};
constexpr CgroupFiles kVersion2 = {"memory.max", "memory.current", "inactive_file", "active_file"};

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

// The number behind "name" and blanks on a line of its own.
std::optional<uint64_t> number_of(const std::string& text, std::string_view name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    const size_t begin = line.find_first_not_of(" \t", name.size());
    if (begin == name.size() || begin == std::string::npos) continue;
    return parse_number(std::string_view(line).substr(begin));
  }
  return std::nullopt;
}

std::optional<uint64_t> smaller(std::optional<uint64_t> a, std::optional<uint64_t> b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

// What one group may still use; cached file pages do not count as used.
std::optional<uint64_t> group_available(const std::string& directory, const CgroupFiles& files) {
  const auto limit = parse_number(read_system_file(directory + "/" + files.limit));
  if (!limit || *limit >= kNoLimit) return std::nullopt;
  const uint64_t usage = parse_number(read_system_file(directory + "/" + files.usage)).value_or(0);
  const std::string stat = read_system_file(directory + "/memory.stat");
  const uint64_t cache =
      number_of(stat, files.inactive_cache).value_or(0) + number_of(stat, files.active_cache).value_or(0);
  const uint64_t used = usage - std::min(usage, cache);
  return *limit - std::min(*limit, used);
}

// The group and all its parents up to the mount point. Inside a container the path of /proc may not exist;
// the mount point then is the container's own group.
std::optional<uint64_t> tightest_group(const std::string& mount, std::string path, const CgroupFiles& files) {
  std::optional<uint64_t> available = group_available(mount, files);
  for (int i = 0; i < kMaxParents && path.size() > 1; ++i) {
    available = smaller(available, group_available(mount + path, files));
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  return available;
}

std::optional<uint64_t> cgroup_available(const std::string& root) {
  std::optional<uint64_t> available;
  std::istringstream lines(read_system_file(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {  // "number:controllers:path"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      available = smaller(available, tightest_group(root + "/sys/fs/cgroup", path, kVersion2));
    } else if (controllers.find(",memory,") != std::string::npos) {
      available = smaller(available, tightest_group(root + "/sys/fs/cgroup/memory", path, kVersion1));
    }
  }
  return available;
}

std::optional<uint64_t> address_space_available(const std::string& root) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const uint64_t pages = parse_number(read_system_file(root + "/proc/self/statm")).value_or(0);
  const uint64_t mapped = pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t total = limit.rlim_cur;
  return total - std::min(total, mapped);
}

}  // namespace

std::optional<uint64_t> MemoryInfo::available() const {
  return smaller(smaller(system_available, cgroup_available), address_space_available);
}

MemoryInfo read_memory_info(const std::string& root) {
  MemoryInfo info;
  const auto kilobytes = number_of(read_system_file(root + "/proc/meminfo"), "MemAvailable:");
  if (kilobytes) info.system_available = *kilobytes * 1024;
  info.cgroup_available = cgroup_available(root);
  info.address_space_available = address_space_available(root);
  return info;
}

std::string transparent_huge_pages(const std::string& root) {
  // The setting in force stands in brackets: "always [madvise] never".
  const std::string choices = read_system_file(root + "/sys/kernel/mm/transparent_hugepage/enabled");
  const size_t open = choices.find('[');
  const size_t close = choices.find(']', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || close == std::string::npos) return "unknown";
  return choices.substr(open + 1, close - open - 1);
}

}  // namespace fathom
