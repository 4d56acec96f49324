// What drawing a token computes of single logits, for the host's sampler (sample/sampler.h) and for kernels
// that do a part of its work on a device: both get the same bits.
#pragma once

#include <cstdint>

#include "base/exact_exp.h"

namespace fathom {

// The greatest finite float: logits are usable up to it.
inline constexpr float kLargestFloat = 0x1.fffffep+127f;

// Orders logits as integers: the greater logit has the greater key, -0 that of +0. Not of NaN.
FATHOM_HOST_DEVICE inline uint32_t logit_key(float logit) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, logit + 0.0f);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}
FATHOM_HOST_DEVICE inline float key_logit(uint32_t key) {
  return __builtin_bit_cast(float, (key >> 31) != 0 ? key & 0x7fffffffu : ~key);
}

// Orders (logit, id) as one integer: the greater logit first, the lower id first among equals.
FATHOM_HOST_DEVICE inline uint64_t make_rank(float logit, uint32_t id) {
  return (uint64_t{~logit_key(logit)} << 32) | id;
}
FATHOM_HOST_DEVICE inline float rank_logit(uint64_t rank) {
  return key_logit(~static_cast<uint32_t>(rank >> 32));
}
FATHOM_HOST_DEVICE inline uint32_t rank_id(uint64_t rank) { return static_cast<uint32_t>(rank); }

// exp((logit - greatest logit) / temperature), 1 for the greatest. 1 / temperature is kept finite, so that
// it does not make a NaN of 0.
FATHOM_HOST_DEVICE inline double inverse_of(double temperature) {
  const double inverse = 1.0 / temperature;
  return inverse < 0x1.fffffffffffffp+1023 ? inverse : 0x1.fffffffffffffp+1023;
}
FATHOM_HOST_DEVICE inline double logit_weight(float logit, double greatest, double inverse_temperature) {
  return exact_exp((static_cast<double>(logit) - greatest) * inverse_temperature);
}

// Sums of weights over ids are taken in blocks and in groups of blocks, so that many can be taken side by
// side: a block's in order of id, a group's over its blocks in order, all over the groups in order.
inline constexpr int32_t kSumBlock = 32;
inline constexpr int32_t kBlocksPerGroup = 32;
inline constexpr int32_t kSumGroup = kSumBlock * kBlocksPerGroup;

// Such a sum, of weights given in order of id; those left out are 0 and change nothing.
class RunningSum {
 public:
  void add(int64_t id, double weight) {
    if (id / kSumBlock != block_index_) open_block(id / kSumBlock);
    block_ += weight;
  }
  double value() const { return groups_ + (blocks_ + block_); }

 private:
  void open_block(int64_t index) {
    blocks_ += block_;
    block_ = 0;
    if (index / kBlocksPerGroup != block_index_ / kBlocksPerGroup) {
      groups_ += blocks_;
      blocks_ = 0;
    }
    block_index_ = index;
  }

  int64_t block_index_ = 0;
  double groups_ = 0;  // of whole groups
  double blocks_ = 0;  // of whole blocks of the open group
  double block_ = 0;   // of the open block
};

}  // namespace fathom
