// What `bench kernels` prints. Rates are decimal: GB/s are 1e9 bytes a second, TOPS 1e12 operations, two for
// a multiply-add.
#pragma once

#include <string>

#include "base/json.h"
#include "benchmark/kernel_bench.h"

namespace fathom {

// {"model", "machine": {...}, "sections": [{"group", "name", ceilings, "rows": [...]}], "attention_forms":
// {...} or null}; a figure that does not exist is null.
Json to_json(const KernelBenchReport& report);
// A table per section.
std::string to_text(const KernelBenchReport& report);

}  // namespace fathom
