// What `bench model` prints, in its four formats.
#pragma once

#include <string>

#include "base/json.h"
#include "benchmark/model_bench.h"

namespace fathom {

// The document that tools rely on: {"machine": {...}, "rows": [...]}; a figure that does not exist is null.
// Where rows were repeated, the figures are medians and "spread" holds [min, max].
Json to_json(const ModelBenchReport& report);
// What was measured where: threads, CPU, kernels, steps, repeats, and the number of ranks where they are
// several.
std::string place_text(const ModelBenchReport& report);
// For people.
std::string to_text(const ModelBenchReport& report);
// One line per row under a header, the names of the JSON.
std::string to_csv(const ModelBenchReport& report);
// The columns of the system that this one replaces, so that its scripts go on reading them: times of the
// whole batch; non-first token time is that of all steps after the prefill / (output - 1), its throughput
// batch / that; the averages are over all rows.
std::string to_seed_csv(const ModelBenchReport& report);

}  // namespace fathom
