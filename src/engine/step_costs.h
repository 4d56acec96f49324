// What a step of so many tokens costs on this machine, learnt from the steps that were done: what drafts are
// worth and how long a chunk should be follow from it. Only speed depends on it, never a result.
#pragma once

#include <array>
#include <cstdint>

namespace fathom {

// Times by number of tokens, in classes of powers of two with a running mean each.
class StepCosts {
 public:
  // Relative cost of a step of n tokens before anything is measured: base + per_token * n, in any unit.
  StepCosts(double base, double per_token) : base_(base), per_token_(per_token) {}

  // A step of num_tokens >= 1 took so long.
  void observe(int64_t num_tokens, double seconds);
  // Of a step of num_tokens >= 1; between and beyond what was observed by interpolation. Never less for more
  // tokens. In the prior's unit where nothing was observed.
  double predict(int64_t num_tokens) const;
  bool has_observations() const { return num_observed_ > 0; }

 private:
  static constexpr int kClasses = 24;
  struct Class {
    double tokens = 0;  // running means
    double seconds = 0;
    int64_t count = 0;
  };
  double base_;
  double per_token_;
  std::array<Class, kClasses> classes_;
  int64_t num_observed_ = 0;
};

// The tokens of a step beyond which it hardly gets more efficient: a step's fixed cost, mostly the reading of
// weights, is at most `share` of it then. In [least, most]; most where nothing is known.
int64_t balanced_step_tokens(const StepCosts& costs, double share, int64_t least, int64_t most);

}  // namespace fathom
