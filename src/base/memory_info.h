// How much memory this process may still use: the system's, its control group's and its own limit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace fathom {

// Bytes; nullopt where the system does not say or sets no limit.
struct MemoryInfo {
  std::optional<uint64_t> system_available = std::nullopt;  // MemAvailable of /proc/meminfo
  std::optional<uint64_t> cgroup_available =
      std::nullopt;  // the tightest of the group and its parents, version 1 or 2
  std::optional<uint64_t> address_space_available = std::nullopt;  // RLIMIT_AS less what is mapped
  std::string owner =
      {};  // the device whose memory this is, by which system_available was given; "": the host

  // The smallest of those known; nullopt if none is.
  std::optional<uint64_t> available() const;
};

// root is put before every path ("" for the real system), so that a test can lay out a system of its own.
MemoryInfo read_memory_info(const std::string& root = "");

// What the system does about huge pages for ordinary memory: "always", "madvise" (where a program asks for
// them) or "never"; "unknown" where it does not say.
std::string transparent_huge_pages(const std::string& root = "");

}  // namespace fathom
