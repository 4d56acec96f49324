// When requests come: a schedule made beforehand, so that a slow server delays no arrival.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fathom {

// Seconds from the start, ascending. rate: requests per second, infinity: all at 0. Gaps are drawn from a
// gamma distribution with shape `burstiness` > 0 (1: a Poisson process; below: bursts, above: regular) and
// scaled, as in vLLM, so that the last one comes at exactly num_requests / rate.
std::vector<double> arrival_times(size_t num_requests, double rate, double burstiness, uint64_t seed);

}  // namespace fathom
