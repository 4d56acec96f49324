// What `bench model --format html` prints: one page, no script, nothing loaded from anywhere.
#pragma once

#include <string>

#include "benchmark/model_bench.h"

namespace fathom {

// Tokens a second against batch and against context, prefill and decode apart, each line under its roof: what
// the measured ceilings beside its runs would allow. Below them the rows in numbers.
std::string to_html(const ModelBenchReport& report);

}  // namespace fathom
