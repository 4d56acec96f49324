#include "parallel/purpose.h"

#include <fmt/format.h>

namespace fathom {

std::string describe_purpose(uint64_t purpose) {
  constexpr const char* kNames[] = {"start", "barrier", "broadcast", "all-reduce", "all-gather"};
  const uint64_t operation = purpose >> 56;
  if (operation >= std::size(kNames)) return "something unknown";
  if (operation <= static_cast<uint64_t>(Operation::kBarrier)) return kNames[operation];
  std::string text = fmt::format("{} of {} bytes", kNames[operation], purpose & ((uint64_t{1} << 48) - 1));
  if (operation == static_cast<uint64_t>(Operation::kBroadcast))
    text += fmt::format(" from rank {}", purpose >> 48 & 0xff);
  return text;
}

}  // namespace fathom
