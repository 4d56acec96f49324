#include "server/constraint_cache.h"

#include <algorithm>

namespace fathom {

ConstraintCache::Compiled ConstraintCache::find(const ConstraintSpec& spec) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&spec](const Entry& entry) {
    return entry.spec.kind == spec.kind && entry.spec.text == spec.text && entry.spec.choices == spec.choices;
  });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->compiled;
}

Result<ConstraintCache::Compiled> ConstraintCache::find_or_compile(const ConstraintSpec& spec) {
  if (Compiled found = find(spec)) return found;
  FATHOM_ASSIGN_OR_RETURN(Compiled compiled, CompiledConstraint::compile(spec, trie_));
  const std::lock_guard lock(mutex_);
  entries_.push_front({spec, compiled});
  if (entries_.size() > capacity_) entries_.pop_back();
  return compiled;
}

}  // namespace fathom
