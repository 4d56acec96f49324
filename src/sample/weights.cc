#include "sample/weights.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace fathom {
namespace {

// A register of the baseline, in the compiler's own words.
constexpr size_t kPair = 2;
using PairOfDoubles = double __attribute__((vector_size(kPair * sizeof(double))));
using PairOfWords = int64_t __attribute__((vector_size(kPair * sizeof(int64_t))));
using PairOfFloats = float __attribute__((vector_size(kPair * sizeof(float))));
using PairOfInts = int32_t __attribute__((vector_size(kPair * sizeof(int32_t))));

// exact_exp of each, operation by operation.
PairOfDoubles exact_exps(PairOfDoubles x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kLn2High = 0x1.62e42feep-1;
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kLeast = -708.0;
  const PairOfWords counts = x >= kLeast;
  x = counts != 0 ? x : PairOfDoubles{} + kLeast;
  const auto whole =
      __builtin_convertvector(__builtin_convertvector(x * kLog2E - 0.5, PairOfInts), PairOfDoubles);
  const PairOfDoubles r = (x - whole * kLn2High) - whole * kLn2Low;
  const PairOfDoubles r2 = r * r;
  const PairOfDoubles r4 = r2 * r2;
  const PairOfDoubles p0 = 1.0 / 6.0 + r * (1.0 / 24.0);
  const PairOfDoubles p2 = 1.0 / 120.0 + r * (1.0 / 720.0);
  const PairOfDoubles p4 = 1.0 / 5040.0 + r * (1.0 / 40320.0);
  const PairOfDoubles p6 = 1.0 / 362880.0 + r * (1.0 / 3628800.0);
  const PairOfDoubles p8 = 1.0 / 39916800.0 + r * (1.0 / 479001600.0);
  const double p10 = 1.0 / 6227020800.0;
  const PairOfDoubles tail = (p0 + r2 * p2) + r4 * (p4 + r2 * p6) + r4 * r4 * (p8 + r2 * p10);
  const PairOfDoubles sum = 1.0 + (r + (r2 * 0.5 + r2 * r * tail));
  // The low bits of this sum are the integer k + 1023.
  const PairOfWords exponent = reinterpret_cast<PairOfWords>(whole + (0x1.8p52 + 1023)) << 52;
  const PairOfDoubles result = sum * reinterpret_cast<PairOfDoubles>(exponent);
  return counts != 0 ? result : PairOfDoubles{};
}

constexpr size_t kBlockIds = kSumBlock;
constexpr size_t kGroupIds = kSumGroup;

// Whether none of a block's logits is floor or more: a few comparisons at once.
bool is_below(std::span<const float> logits, float floor) {
  using Four = float __attribute__((vector_size(4 * sizeof(float))));
  if (logits.size() < kBlockIds) return false;
  decltype(Four{} >= Four{}) found = {};
  for (size_t i = 0; i < kBlockIds; i += 4) {
    Four values;
    std::memcpy(&values, logits.data() + i, sizeof values);
    found |= values >= floor;
  }
  return (found[0] | found[1] | found[2] | found[3]) == 0;
}

double block_sum(std::span<const float> logits, const Weigher& weigh, float floor) {
  double sum = 0;
  if (floor > -kLargestFloat) {  // min_p, which leaves few
    if (is_below(logits, floor)) return 0;
    for (float logit : logits) sum += logit >= floor ? weigh(logit) : 0;
    return sum;
  }
  std::array<double, kBlockIds> weights;
  fill_weights(logits, weigh, floor, weights.data());
  for (size_t i = 0; i < logits.size(); ++i) sum += weights[i];
  return sum;
}

// Part `index` of so many logits, which may be shorter at the end.
std::span<const float> part(std::span<const float> logits, size_t index, size_t length) {
  const size_t begin = index * length;
  return logits.subspan(begin, std::min(length, logits.size() - begin));
}

}  // namespace

float least_logit(const Weigher& weigh, double share) {
  uint32_t fails = logit_key(-kLargestFloat);
  uint32_t holds = logit_key(static_cast<float>(weigh.greatest));
  if (weigh(-kLargestFloat) >= share) return -kLargestFloat;
  while (holds - fails > 1) {
    const uint32_t middle = fails + (holds - fails) / 2;
    (weigh(key_logit(middle)) >= share ? holds : fails) = middle;
  }
  return key_logit(holds);
}

void fill_weights(std::span<const float> logits, const Weigher& weigh, float floor, double* weights) {
  const PairOfDoubles greatest = PairOfDoubles{} + weigh.greatest;
  const PairOfDoubles inverse = PairOfDoubles{} + weigh.inverse_temperature;
  const PairOfDoubles least = PairOfDoubles{} + floor;
  size_t i = 0;
  for (; i + kPair <= logits.size(); i += kPair) {
    PairOfFloats values;
    std::memcpy(&values, logits.data() + i, sizeof values);
    const auto wide = __builtin_convertvector(values, PairOfDoubles);
    const PairOfDoubles weight = exact_exps((wide - greatest) * inverse);
    const PairOfDoubles kept = wide >= least ? weight : PairOfDoubles{};
    std::memcpy(weights + i, &kept, sizeof kept);
  }
  for (; i < logits.size(); ++i) weights[i] = logits[i] >= floor ? weigh(logits[i]) : 0;
}

double sum_weights(std::span<const float> logits, const Weigher& weigh, float floor,
                   std::vector<double>& groups) {
  groups.clear();
  double sum = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kGroupIds) {
    const std::span<const float> group = part(logits, begin / kGroupIds, kGroupIds);
    double group_sum = 0;
    for (size_t block = 0; block * kBlockIds < group.size(); ++block)
      group_sum += block_sum(part(group, block, kBlockIds), weigh, floor);
    groups.push_back(group_sum);
    sum += group_sum;
  }
  return sum;
}

int32_t find_in_weights(std::span<const float> logits, const Weigher& weigh, float floor,
                        std::span<const double> groups, double target) {
  size_t group = 0;
  double before = 0;  // of the groups before it
  while (group + 1 < groups.size() && !(before + groups[group] > target)) before += groups[group++];
  size_t block = group * kBlocksPerGroup;
  double blocks = 0;  // of the group's blocks before it
  for (; (block + 1) * kBlockIds < logits.size(); ++block) {
    const double sum = block_sum(part(logits, block, kBlockIds), weigh, floor);
    if (before + (blocks + sum) > target) break;
    blocks += sum;
  }
  double sum = 0;
  for (size_t id = block * kBlockIds; id < logits.size(); ++id) {
    if (logits[id] >= floor) sum += weigh(logits[id]);
    if (before + (blocks + sum) > target) return static_cast<int32_t>(id);
  }
  FATHOM_CHECK(false, "{} is not reached by {} weights", target, logits.size());
  return 0;
}

}  // namespace fathom
