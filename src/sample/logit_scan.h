// What reads every logit of a row once for every token, so that it has to be quick.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"

namespace fathom {

struct Peak {
  float logit;
  size_t id;
};

// The greatest of logits (one at least) and the lowest id that has it. kInvalidData: one is NaN or +infinity,
// or all are -infinity.
Result<Peak> find_peak(std::span<const float> logits);

// Copies logits to `copy`. Those that are not allowed (bit id % 32 of word id / 32 is not set, or there is no
// such word) become -infinity, but for NaN and +infinity: a row that is not usable is found out whatever the
// mask. An empty mask allows all.
void copy_allowed(std::span<const float> logits, std::span<const uint32_t> allowed, std::vector<float>& copy);

}  // namespace fathom
