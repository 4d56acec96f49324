// Things to call that templates themselves make: macros and loops.
#pragma once

#include <optional>

#include "text/jinja/ast.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/scope.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

class Macro : public Callable {
 public:
  Macro(const MacroDefinition& definition, ScopePointer scope)
      : definition_(definition), scope_(std::move(scope)) {}

  Result<Value> call(Evaluator& evaluator, const Arguments& arguments) const override {
    return evaluator.call_macro(definition_, scope_, arguments);
  }

 private:
  const MacroDefinition& definition_;
  ScopePointer scope_;  // where it was defined
};

// The variable `loop`: where a loop stands. Called, in a recursive loop, it runs the loop over other items.
class LoopObject : public Callable {
 public:
  LoopObject(const Statement& statement, ScopePointer scope, const List& items, int depth)
      : statement_(statement), scope_(std::move(scope)), items_(items), depth_(depth) {}

  void set_index(size_t index) { index_ = index; }

  Result<Value> call(Evaluator& evaluator, const Arguments& arguments) const override;
  Result<Value> attribute(Evaluator& evaluator, std::string_view name) const override;

  // loop.cycle(a, b): one of the arguments, in turn.
  Result<Value> cycle(const Arguments& arguments) const;
  // loop.changed(value): whether the value differs from that of the last call.
  Result<Value> changed(const Arguments& arguments);

 private:
  const Statement& statement_;
  ScopePointer scope_;
  const List& items_;
  int depth_;
  size_t index_ = 0;
  std::optional<List> last_;
};

}  // namespace fathom::jinja
