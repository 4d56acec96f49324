#include "text/jinja/text_helpers.h"

#include <algorithm>
#include <limits>

#include "text/jinja/format.h"
#include "text/jinja/string_functions.h"

namespace fathom::jinja {

long long clamp_count(Integer value) {
  constexpr Integer kLowest = std::numeric_limits<long long>::min();
  constexpr Integer kHighest = std::numeric_limits<long long>::max();
  return static_cast<long long>(std::clamp(value, kLowest, kHighest));
}

Result<Value> list_of_texts(Evaluator& evaluator, const std::vector<std::string_view>& parts) {
  List items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.push_back(Value::string(part));
  return evaluator.arena().make_list(std::move(items));
}

Result<Value> replace_text(Evaluator& evaluator, std::string_view text, std::string_view pattern,
                           std::string_view replacement, Integer limit) {
  Arena& arena = evaluator.arena();
  FATHOM_RETURN_IF_ERROR(arena.scan(text.size()));
  size_t count = count_occurrences(text, pattern);
  if (limit >= 0) count = static_cast<size_t>(std::min<Integer>(limit, static_cast<Integer>(count)));
  const size_t limit_bytes = arena.limits().max_memory_bytes;
  if (!replacement.empty() && count > limit_bytes / replacement.size()) {
    return resource_exhausted("a replacement makes more bytes than the limit of {}", limit_bytes);
  }
  FATHOM_RETURN_IF_ERROR(arena.charge(text.size() + count * replacement.size()));
  return arena.keep_charged(replace_all(text, pattern, replacement, clamp_count(limit)));
}

Result<Value> join_texts(Evaluator& evaluator, const List& items, std::string_view separator) {
  Arena& arena = evaluator.arena();
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) {
      FATHOM_RETURN_IF_ERROR(arena.charge(separator.size()));
      out += separator;
    }
    FATHOM_ASSIGN_OR_RETURN(const std::string part, to_text(arena, items[i]));
    out += part;
  }
  return arena.keep_charged(std::move(out));
}

}  // namespace fathom::jinja
