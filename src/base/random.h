// Counter-based random numbers: a value is a pure function of (key, counter), so that no result depends on
// the order in which values are drawn, on batch mates or on threads. Not for secrets.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

namespace fathom {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit over all.
inline uint64_t mix_bits(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

inline uint64_t random_bits(uint64_t key, uint64_t counter) { return mix_bits(mix_bits(key) ^ counter); }

// Uniform in [0, 1) with 53 random bits.
inline double random_uniform(uint64_t key, uint64_t counter) {
  return static_cast<double>(random_bits(key, counter) >> 11) * 0x1p-53;
}

// FNV-1a over the text, mixed with the seed: the key of a named stream.
inline uint64_t random_key(uint64_t seed, std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (unsigned char byte : name) hash = (hash ^ byte) * 0x100000001b3u;
  return mix_bits(hash ^ mix_bits(seed));
}

}  // namespace fathom
