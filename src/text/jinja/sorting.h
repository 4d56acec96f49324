// Ordering of values by keys.
#pragma once

#include <vector>

#include "base/status.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

struct KeyedValue {
  Value key;
  Value value;
};

enum class Order { kAscending, kDescending };

// Stable in both orders. Keys that have no order are an error. Counts the work.
Status sort_by_key(Evaluator& evaluator, std::vector<KeyedValue>& items, Order order);

}  // namespace fathom::jinja
