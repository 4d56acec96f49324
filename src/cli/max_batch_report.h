// What `bench maxbs` prints.
#pragma once

#include <string>

#include "base/json.h"
#include "benchmark/max_batch.h"

namespace fathom {

// {"limit_ms", "cases": [{"input", "output", "low", "high", "batch" (null: none is within), "rounds":
// [..]}]}; a round without room in the cache has no times.
Json to_json(const std::vector<MaxBatchResult>& results, double limit_ms);
std::string to_text(const std::vector<MaxBatchResult>& results, double limit_ms);
// One line a round.
std::string to_csv(const std::vector<MaxBatchResult>& results);

}  // namespace fathom
