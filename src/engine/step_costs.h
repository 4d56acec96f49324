// What a step of so many tokens costs on this machine, learnt from the steps that were done: what drafts are
// worth and how long a chunk should be follow from it. Only speed depends on it, never a result.
#pragma once

#include <array>
#include <cstdint>

namespace fathom {

// Times by number of tokens, in classes of powers of two. A class is worth the lower quartile of its latest
// steps: a machine that is busy for a moment only ever makes a step slower, and what one slow step says must
// not decide for long. A class of few or long past steps is believed at most what the prior says of it, so
// that it is tried again.
class StepCosts {
 public:
  // Relative cost of a step of n tokens before anything is measured: base + per_token * n, in any unit.
  explicit StepCosts(double base = 1, double per_token = 1) : base_(base), per_token_(per_token) {}

  // A step of num_tokens >= 1 took so long.
  void observe(int64_t num_tokens, double seconds);
  // Of a step of num_tokens >= 1; between and beyond what was observed by interpolation. Never less for more
  // tokens. In the prior's unit where nothing was observed.
  double predict(int64_t num_tokens) const;
  bool has_observations() const { return num_observed_ > 0; }
  // Whether steps of more than num_tokens have been observed, enough of them and lately.
  bool knows_beyond(int64_t num_tokens) const;

 private:
  static constexpr int kClasses = 24;
  static constexpr int kSamples = 16;
  struct Class {
    std::array<double, kSamples> seconds_of = {};  // of the latest steps, as a ring
    std::array<double, kSamples> tokens_of = {};
    int64_t count = 0;   // of all steps
    int64_t last = 0;    // num_observed_ then
    double tokens = 0;   // mean
    double seconds = 0;  // lower quartile
  };
  double prior(double tokens) const { return base_ + per_token_ * tokens; }
  bool is_trusted(const Class& of_size) const;

  double base_;
  double per_token_;
  std::array<Class, kClasses> classes_;
  int64_t num_observed_ = 0;
};

// The tokens of a step beyond which it hardly gets more efficient: a step's fixed cost, mostly the reading of
// weights, is at most `share` of it then. In [least, most]; most where nothing is known.
int64_t balanced_step_tokens(const StepCosts& costs, double share, int64_t least, int64_t most);

}  // namespace fathom
