#include "load/arrivals.h"

#include <cmath>
#include <numbers>

#include "base/random.h"

namespace fathom {
namespace {

class GammaDraw {
 public:
  GammaDraw(double shape, uint64_t seed) : shape_(shape), key_(random_key(seed, "arrivals")) {}

  // Scale 1. Marsaglia and Tsang, "A simple method for generating gamma variables" (2000); shapes below 1 by
  // their power of a uniform number.
  double next() {
    if (shape_ < 1) {
      const double power = std::pow(uniform(), 1 / shape_);
      return draw(shape_ + 1) * power;
    }
    return draw(shape_);
  }

 private:
  // In (0, 1].
  double uniform() { return 1 - random_uniform(key_, counter_++); }

  double normal() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

  double draw(double shape) {
    const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
    while (true) {
      const double x = normal(), root = 1 + c * x;
      if (root <= 0) continue;
      const double v = root * root * root;
      if (std::log(uniform()) < x * x / 2 + d - d * v + d * std::log(v)) return d * v;
    }
  }

  double shape_;
  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace

std::vector<double> arrival_times(size_t num_requests, double rate, double burstiness, uint64_t seed) {
  std::vector<double> times(num_requests, 0);
  if (std::isinf(rate) || num_requests == 0) return times;
  GammaDraw gap(burstiness, seed);
  double time = 0;
  for (double& one : times) one = time += gap.next();
  const double scale = static_cast<double>(num_requests) / rate / time;
  for (double& one : times) one *= scale;
  return times;
}

}  // namespace fathom
