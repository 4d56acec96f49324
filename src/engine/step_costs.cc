#include "engine/step_costs.h"

#include <algorithm>
#include <bit>

namespace fathom {
namespace {

// A running mean forgets after about so many steps: neighbours come and go.
constexpr double kMemory = 16;

}  // namespace

void StepCosts::observe(int64_t num_tokens, double seconds) {
  const int index =
      std::min(kClasses - 1, static_cast<int>(std::bit_width(static_cast<uint64_t>(num_tokens))) - 1);
  Class& of_size = classes_[static_cast<size_t>(index)];
  ++of_size.count;
  ++num_observed_;
  const double weight = 1 / std::min(static_cast<double>(of_size.count), kMemory);
  of_size.tokens += weight * (static_cast<double>(num_tokens) - of_size.tokens);
  of_size.seconds += weight * (seconds - of_size.seconds);
}

double StepCosts::predict(int64_t num_tokens) const {
  const auto tokens = static_cast<double>(num_tokens);
  const auto prior = [this](double n) { return base_ + per_token_ * n; };
  const Class* below = nullptr;
  const Class* above = nullptr;
  for (const Class& of_size : classes_) {
    if (of_size.count == 0) continue;
    if (of_size.tokens <= tokens) below = &of_size;
    if (of_size.tokens > tokens && above == nullptr) above = &of_size;
  }
  if (below == nullptr && above == nullptr) return prior(tokens);
  // Beyond what is known the prior's shape goes on.
  if (above == nullptr) return below->seconds * prior(tokens) / prior(below->tokens);
  if (below == nullptr) return above->seconds * prior(tokens) / prior(above->tokens);
  const double part = (tokens - below->tokens) / (above->tokens - below->tokens);
  return below->seconds + part * std::max(0.0, above->seconds - below->seconds);
}

int64_t balanced_step_tokens(const StepCosts& costs, double share, int64_t least, int64_t most) {
  if (!costs.has_observations()) return most;
  const double fixed = costs.predict(1);
  for (int64_t tokens = least; tokens < most; tokens *= 2) {
    if (fixed <= share * costs.predict(tokens)) return tokens;
  }
  return most;
}

}  // namespace fathom
