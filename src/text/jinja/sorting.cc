#include "text/jinja/sorting.h"

#include <algorithm>
#include <bit>

namespace fathom::jinja {

Status sort_by_key(Evaluator& evaluator, std::vector<KeyedValue>& items, Order order) {
  // Neighbours in a merge sort meet about log2(n) times.
  FATHOM_RETURN_IF_ERROR(
      evaluator.arena().step(items.size() * static_cast<size_t>(std::bit_width(items.size()))));
  Status failure;
  // Once a comparison has failed all are equal, which every order accepts.
  const auto before = [&](const KeyedValue& a, const KeyedValue& b) {
    if (!failure.ok()) return false;
    const Result<bool> equal = equals(a.key, b.key);  // keys without an order may still be equal
    if (equal.ok() && *equal) return false;
    const Result<bool> less = order == Order::kAscending ? less_than(a.key, b.key) : less_than(b.key, a.key);
    if (less.ok()) return *less;
    failure = less.status();
    return false;
  };
  std::stable_sort(items.begin(), items.end(), before);
  return failure;
}

}  // namespace fathom::jinja
