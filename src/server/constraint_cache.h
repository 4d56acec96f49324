// Compiled constraints by what they were asked for, so that a schema that comes with every request is
// compiled once. Any thread.
#pragma once

#include <list>
#include <memory>
#include <mutex>

#include "base/status.h"
#include "constrain/constraint.h"

namespace fathom {

class ConstraintCache {
 public:
  using Compiled = std::shared_ptr<const CompiledConstraint>;

  // A compiled constraint may come to hold some 100 MB (constrain/limits.h), so few are kept: those used
  // last.
  explicit ConstraintCache(std::shared_ptr<const TokenTrie> trie, size_t capacity = 32)
      : trie_(std::move(trie)), capacity_(capacity) {}

  // Null where it is not there.
  Compiled find(const ConstraintSpec& spec);
  // Takes up to 100 ms where it is not there. Fails as CompiledConstraint::compile.
  Result<Compiled> find_or_compile(const ConstraintSpec& spec);

 private:
  struct Entry {
    ConstraintSpec spec;
    Compiled compiled;
  };

  const std::shared_ptr<const TokenTrie> trie_;
  const size_t capacity_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // guarded by mutex_; the last used first
};

}  // namespace fathom
