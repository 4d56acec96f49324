// The machine's ceilings for people and for tools. Rates are decimal: GB/s are 1e9 bytes a second, TOPS and
// TFLOPS 1e12 operations, two for a multiply-add.
#pragma once

#include <string>

#include "base/json.h"
#include "benchmark/machine.h"

namespace fathom {

Json to_json(const MachineCeilings& machine);
Json to_json(const ThreadCeilings& ceilings);

// A table: a line per ceiling, a column per number of threads.
std::string to_text(const MachineCeilings& machine);

}  // namespace fathom
