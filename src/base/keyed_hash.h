// A hash that nobody outside the process can aim at: SipHash with 16 bytes of output under a random key that
// lives and dies with the object. For tables that are filled by strangers. Not a signature, and not the same
// from run to run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>

#include "base/status.h"

struct evp_mac_ctx_st;

namespace fathom {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
  auto operator<=>(const Hash128&) const = default;
};

// One thread at a time. Move-only.
class KeyedHash {
 public:
  // With a key of its own. kUnsupported where the system's OpenSSL offers no SipHash or no random numbers.
  static Result<KeyedHash> create();

  // Of the parts' bytes one after the other; where one ends and the next begins does not count.
  Hash128 operator()(std::initializer_list<std::span<const std::byte>> parts);

 private:
  struct Free {
    void operator()(evp_mac_ctx_st* context) const;
  };
  static constexpr size_t kKeyBytes = 16;
  KeyedHash() = default;

  std::unique_ptr<evp_mac_ctx_st, Free> context_;
  unsigned char key_[kKeyBytes] = {};
};

}  // namespace fathom

// The bits are as good as random: any of them do.
template <>
struct std::hash<fathom::Hash128> {
  size_t operator()(const fathom::Hash128& value) const noexcept { return value.low; }
};
