// Compiled constraints by what they were asked for, so that a schema that comes with every request is
// compiled once. Any thread.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <variant>

#include "base/status.h"
#include "constrain/constraint.h"
#include "server/api_error.h"
#include "server/openai/constraint_fields.h"

namespace fathom {

struct ConstraintCacheLimits {
  size_t max_kept = 32;                  // that no request uses
  size_t max_bytes = size_t{512} << 20;  // of all there are, those in use included
};

class ConstraintCache {
 public:
  using Compiled = std::shared_ptr<const CompiledConstraint>;

  explicit ConstraintCache(std::shared_ptr<const TokenTrie> trie, ConstraintCacheLimits limits = {})
      : trie_(std::move(trie)), limits_(limits) {}

  // Null where it is not there, or is worn.
  Compiled find(const ConstraintSpec& spec);
  // Takes up to 100 ms where it is not there. Fails as CompiledConstraint::compile, and with
  // kResourceExhausted while those in use take all the memory.
  Result<Compiled> find_or_compile(const ConstraintSpec& spec);

 private:
  struct Entry {
    ConstraintSpec spec;
    Compiled compiled;
  };

  // Drops what no request uses until there is room for one more of so many bytes; the bytes of the rest.
  size_t make_room(size_t wanted);

  const std::shared_ptr<const TokenTrie> trie_;
  const ConstraintCacheLimits limits_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // guarded by mutex_; the last used first; all that are in use
};

// What a request asks for, compiled, or what its client is told. cache: null where the model has no
// tokenizer. Takes as long as find_or_compile().
std::variant<ConstraintCache::Compiled, ApiError> compile_constraint(const RequestedConstraint& wanted,
                                                                     ConstraintCache* cache);

}  // namespace fathom
