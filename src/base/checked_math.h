// Integer arithmetic on sizes that come from files: overflow is an answer, not a wrap-around.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace fathom {

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// The product of a shape's dimensions; 1 for an empty shape. nullopt for a negative one or an overflow.
inline std::optional<uint64_t> checked_product(std::span<const int64_t> dimensions) {
  uint64_t product = 1;
  for (int64_t dimension : dimensions) {
    if (dimension < 0) return std::nullopt;
    const auto next = checked_mul(product, static_cast<uint64_t>(dimension));
    if (!next) return std::nullopt;
    product = *next;
  }
  return product;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t multiple) { return ceil_div(a, multiple) * multiple; }

}  // namespace fathom
