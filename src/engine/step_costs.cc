#include "engine/step_costs.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <numeric>
#include <optional>
#include <span>

namespace fathom {
namespace {

// Fewer steps may all have been slow ones.
constexpr int64_t kFewSteps = 3;
// Steps after which a class that none of them was of is in doubt: the machine may have been busy then.
constexpr int64_t kLongUnseen = 256;

double lower_quartile(std::span<double> values) {
  const auto quartile = values.begin() + (std::ssize(values) - 1) / 4;
  std::nth_element(values.begin(), quartile, values.end());
  return *quartile;
}

}  // namespace

bool StepCosts::is_trusted(const Class& of_size) const {
  return of_size.count >= kFewSteps && num_observed_ - of_size.last <= kLongUnseen;
}

bool StepCosts::knows_beyond(int64_t num_tokens) const {
  return std::any_of(classes_.begin(), classes_.end(), [&](const Class& of_size) {
    return of_size.count > 0 && of_size.tokens > static_cast<double>(num_tokens) && is_trusted(of_size);
  });
}

void StepCosts::observe(int64_t num_tokens, double seconds) {
  const int index =
      std::min(kClasses - 1, static_cast<int>(std::bit_width(static_cast<uint64_t>(num_tokens))) - 1);
  Class& of_size = classes_[static_cast<size_t>(index)];
  const auto place = static_cast<size_t>(of_size.count % kSamples);
  of_size.seconds_of[place] = seconds;
  of_size.tokens_of[place] = static_cast<double>(num_tokens);
  ++of_size.count;
  of_size.last = ++num_observed_;
  const auto kept = static_cast<size_t>(std::min<int64_t>(of_size.count, kSamples));
  const std::span<const double> tokens(of_size.tokens_of.data(), kept);
  of_size.tokens = std::accumulate(tokens.begin(), tokens.end(), 0.0) / static_cast<double>(kept);
  std::array<double, kSamples> sorted = of_size.seconds_of;
  of_size.seconds = lower_quartile(std::span(sorted).first(kept));
}

double StepCosts::predict(int64_t num_tokens) const {
  struct Point {
    double tokens = 0;
    double seconds = 0;
  };
  const auto tokens = static_cast<double>(num_tokens);
  std::optional<Point> below, above;
  std::optional<Point> last;  // of the class before
  for (const Class& of_size : classes_) {
    if (of_size.count == 0) continue;
    Point point{of_size.tokens, of_size.seconds};
    if (last && !is_trusted(of_size))
      point.seconds = std::min(point.seconds, last->seconds * prior(point.tokens) / prior(last->tokens));
    last = point;
    if (point.tokens <= tokens) below = point;
    if (point.tokens > tokens && !above) above = point;
  }
  if (!below && !above) return prior(tokens);
  // Beyond what is known the prior's shape goes on.
  if (!above) return below->seconds * prior(tokens) / prior(below->tokens);
  if (!below) return above->seconds * prior(tokens) / prior(above->tokens);
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
