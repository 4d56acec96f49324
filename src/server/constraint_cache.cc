#include "server/constraint_cache.h"

#include <algorithm>

namespace fathom {

ConstraintCache::Compiled ConstraintCache::find(const ConstraintSpec& spec) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&spec](const Entry& entry) {
    return !entry.compiled->is_worn() && entry.spec == spec;
  });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->compiled;
}

Result<ConstraintCache::Compiled> ConstraintCache::find_or_compile(const ConstraintSpec& spec) {
  if (Compiled found = find(spec)) return found;
  FATHOM_ASSIGN_OR_RETURN(Compiled compiled, CompiledConstraint::compile(spec, trie_));
  const std::lock_guard lock(mutex_);
  const size_t wanted = compiled->num_bytes();
  const size_t others = make_room(wanted);
  if (others + wanted > limits_.max_bytes) {
    return resource_exhausted("constraints in use take {} bytes, {} are the limit", others,
                              limits_.max_bytes);
  }
  entries_.push_front({spec, compiled});
  return compiled;
}

// Constraints grow while they are used, so all are counted anew. Only this class makes further owners, so an
// entry that has none stays so.
size_t ConstraintCache::make_room(size_t wanted) {
  size_t bytes = 0, num_idle = 0;
  for (const Entry& entry : entries_) {
    bytes += entry.compiled->num_bytes();
    num_idle += entry.compiled.use_count() == 1 ? 1 : 0;
  }
  for (auto entry = entries_.end(); entry != entries_.begin();) {
    --entry;
    if (entry->compiled.use_count() > 1) continue;
    const bool fits = num_idle < limits_.max_kept && bytes + wanted <= limits_.max_bytes;
    if (fits && !entry->compiled->is_worn()) continue;
    bytes -= entry->compiled->num_bytes();
    --num_idle;
    entry = entries_.erase(entry);
  }
  return bytes;
}

std::variant<ConstraintCache::Compiled, ApiError> compile_constraint(const RequestedConstraint& wanted,
                                                                     ConstraintCache* cache) {
  if (cache == nullptr) return bad_request(wanted.param, wanted.param + " needs a model with a tokenizer");
  auto compiled = cache->find_or_compile(wanted.spec);
  if (compiled.ok()) return std::move(compiled).value();
  ApiError error = api_error_of(compiled.status(), wanted.param);
  error.message = wanted.param + ": " + error.message;
  return error;
}

}  // namespace fathom
