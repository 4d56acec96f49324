// How far two predictions of the same token lie apart.
#pragma once

#include <cstdint>
#include <span>

namespace fathom {

struct Divergence {
  double kl = 0;          // KL(A || B) = sum of p_A (log p_A - log p_B), nats, at least 0
  double nll_a = 0;       // -log p_A of the token that came, nats
  double nll_b = 0;       // -log p_B of it
  bool same_top = false;  // both think the same token the likeliest; of equals the first
};

// a, b: logits [vocab] of the two models at one position, all finite. token: what came, in [0, vocab). Sums
// in double. Equal logits give exactly 0.
Divergence diverge(std::span<const float> a, std::span<const float> b, int32_t token);

}  // namespace fathom
