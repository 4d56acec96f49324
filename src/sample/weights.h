// The weights of many logits and their sums, as base/draw_math.h defines them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/draw_math.h"

namespace fathom {

// The weight function of one row.
struct Weigher {
  Weigher(float greatest_logit, double temperature)
      : greatest(greatest_logit), inverse_temperature(inverse_of(temperature)) {}
  double operator()(float logit) const { return logit_weight(logit, greatest, inverse_temperature); }

  double greatest;
  double inverse_temperature;
};

// The least logit whose weight is at least share, in [0, 1], by bisection. Those that are not finite do not
// count.
float least_logit(const Weigher& weigh, double share);

// weights[i] = weigh(logits[i]), or 0 where the logit is below floor.
void fill_weights(std::span<const float> logits, const Weigher& weigh, float floor, double* weights);

// The sum of these weights over a row of logits; groups[g] becomes that of group g.
double sum_weights(std::span<const float> logits, const Weigher& weigh, float floor,
                   std::vector<double>& groups);

// The first id at which their running sum exceeds target, which is below their sum.
int32_t find_in_weights(std::span<const float> logits, const Weigher& weigh, float floor,
                        std::span<const double> groups, double target);

}  // namespace fathom
