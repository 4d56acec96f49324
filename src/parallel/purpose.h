// What ranks meet for, in one word that they can compare.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace fathom {

enum class Operation : uint8_t { kStart, kBarrier, kBroadcast, kAllReduce, kAllGather };

// num_bytes below 2^48, root below 256.
inline uint64_t purpose_of(Operation operation, size_t num_bytes, int root = 0) {
  return static_cast<uint64_t>(operation) << 56 | static_cast<uint64_t>(root) << 48 | num_bytes;
}

// "broadcast of 16 bytes from rank 0".
std::string describe_purpose(uint64_t purpose);

}  // namespace fathom
