// What `compare` prints.
#pragma once

#include <string>

#include "base/json.h"
#include "cli/engine_options.h"
#include "evaluate/divergence_summary.h"
#include "evaluate/text_windows.h"

namespace fathom {

struct ComparedSides {
  EngineFlags a, b;
};

Json comparison_json(const ComparedSides& sides, const TextWindows& windows,
                     const DivergenceSummary& summary);
std::string comparison_table(const ComparedSides& sides, const TextWindows& windows,
                             const DivergenceSummary& summary);

}  // namespace fathom
