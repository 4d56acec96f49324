// The variables of a rendering, inner scopes in front of outer ones.
#pragma once

#include <memory>
#include <string_view>
#include <unordered_map>

#include "text/jinja/value.h"

namespace fathom::jinja {

// Shared by the statements inside it and by macros defined there, which may be called after it is left. Names
// must outlive the scope. One thread.
class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}

  // Here, never in an outer scope.
  void set(std::string_view name, const Value& value) { names_[name] = value; }

  // nullptr: in no scope from here outwards.
  const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent_.get()) {
      const auto found = scope->names_.find(name);
      if (found != scope->names_.end()) return &found->second;
    }
    return nullptr;
  }

 private:
  std::shared_ptr<Scope> parent_;
  std::unordered_map<std::string_view, Value> names_;
};

using ScopePointer = std::shared_ptr<Scope>;

}  // namespace fathom::jinja
