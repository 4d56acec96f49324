// The machine's ceilings for people and for tools. Rates are decimal: GB/s are 1e9 bytes a second, TOPS and
// TFLOPS 1e12 operations, two for a multiply-add.
#pragma once

#include <string>

#include "base/json.h"
#include "benchmark/cuda_meter.h"
#include "benchmark/machine.h"

namespace fathom {

Json to_json(const MachineCeilings& machine);
Json to_json(const ThreadCeilings& ceilings);

// A table: a line per ceiling, a column per number of threads.
std::string to_text(const MachineCeilings& machine);

// The same of a CUDA device: {"device", ..., "copy_gb_per_s": {...}, "products": [{"name", "by", "tops"}]}.
Json to_json(const CudaCeilings& ceilings);
std::string to_text(const CudaCeilings& ceilings);

}  // namespace fathom
