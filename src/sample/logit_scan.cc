#include "sample/logit_scan.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace fathom {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

// A register of the baseline, in the compiler's own words.
constexpr size_t kLanes = 4;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Words = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

// Logits that are searched again for their peak, and registers side by side.
constexpr size_t kBlock = 256;
constexpr size_t kChains = 4;

struct BlockScan {
  float greatest = -kInfinity;
  bool is_usable = true;  // neither NaN nor +infinity among them
};

BlockScan scan_rest(std::span<const float> logits) {
  BlockScan scan;
  for (float logit : logits) {
    scan.is_usable &= logit <= kLargest;
    if (logit > scan.greatest) scan.greatest = logit;
  }
  return scan;
}

Floats load(const float* x) {
  Floats values;
  std::memcpy(&values, x, sizeof values);
  return values;
}

BlockScan scan_block(const float* logits) {
  Floats greatest[kChains];
  Words usable[kChains];
  for (size_t chain = 0; chain < kChains; ++chain) {
    greatest[chain] = Floats{} - kInfinity;
    usable[chain] = Words{} - 1;
  }
  for (size_t i = 0; i < kBlock; i += kChains * kLanes) {
#pragma GCC unroll 4
    for (size_t chain = 0; chain < kChains; ++chain) {
      const Floats values = load(logits + i + chain * kLanes);
      usable[chain] &= values <= kLargest;
      greatest[chain] = values > greatest[chain] ? values : greatest[chain];
    }
  }
  BlockScan scan;
  for (size_t chain = 0; chain < kChains; ++chain) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      scan.is_usable &= usable[chain][lane] != 0;
      scan.greatest = std::max(scan.greatest, greatest[chain][lane]);
    }
  }
  return scan;
}

}  // namespace

Result<Peak> find_peak(std::span<const float> logits) {
  FATHOM_CHECK(!logits.empty(), "no logits");
  BlockScan all;
  size_t first = 0;  // of the block that has the peak
  for (size_t i = 0; i < logits.size(); i += kBlock) {
    const BlockScan scan =
        logits.size() - i < kBlock ? scan_rest(logits.subspan(i)) : scan_block(logits.data() + i);
    all.is_usable &= scan.is_usable;
    if (scan.greatest > all.greatest) {
      all.greatest = scan.greatest;
      first = i;
    }
  }
  if (!all.is_usable) {
    const auto bad = std::find_if(logits.begin(), logits.end(), [](float x) { return !(x <= kLargest); });
    return invalid_data("the logit of token {} is {}", bad - logits.begin(), *bad);
  }
  if (all.greatest < -kLargest) return invalid_data("all {} logits are -inf", logits.size());
  const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(first);
  const auto found = std::find(begin, logits.end(), all.greatest);
  return Peak{*found, static_cast<size_t>(found - logits.begin())};
}

void copy_allowed(std::span<const float> logits, std::span<const uint32_t> allowed,
                  std::vector<float>& copy) {
  if (allowed.empty()) {
    copy.assign(logits.begin(), logits.end());
    return;
  }
  copy.resize(logits.size());
  constexpr size_t kWordBits = 32;
  const Words bits = {1, 2, 4, 8};
  for (size_t begin = 0; begin < logits.size(); begin += kWordBits) {
    const uint32_t word = begin / kWordBits < allowed.size() ? allowed[begin / kWordBits] : 0;
    const size_t end = std::min(begin + kWordBits, logits.size());
    size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const Words wanted = Words{} + static_cast<int32_t>(word >> (i - begin) & 0xf);
      const Floats values = load(logits.data() + i);
      const Words stays = ((wanted & bits) != 0) | ~(values <= kLargest);
      const Floats kept = stays != 0 ? values : Floats{} - kInfinity;
      std::memcpy(copy.data() + i, &kept, sizeof kept);
    }
    for (; i < end; ++i) {
      const bool stays = (word >> (i - begin) & 1) != 0 || !(logits[i] <= kLargest);
      copy[i] = stays ? logits[i] : -kInfinity;
    }
  }
}

}  // namespace fathom
