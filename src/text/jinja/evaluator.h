// Runs a program: statements write text, expressions make values. Every step is counted (text/jinja/arena.h).
// The meaning of operators is in operators.h, of filters, tests, methods and functions in builtins.h.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/status.h"
#include "text/jinja/arena.h"
#include "text/jinja/ast.h"
#include "text/jinja/scope.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

// One rendering. One thread.
class Evaluator {
 public:
  // The program must outlive this; now is what strftime_now shows.
  Evaluator(const Program& program, const Limits& limits, std::time_t now);

  Arena& arena() { return arena_; }
  std::time_t now() const { return now_; }

  // The variables' keys and texts must outlive this. Errors name the line.
  Result<std::string> render(const Dict& variables);

  // For builtins.
  Result<Value> call(const Value& function, const Arguments& arguments);
  Result<Value> apply_filter(std::string_view name, const Value& value, const Arguments& arguments);
  Result<bool> apply_test(std::string_view name, const Value& value, const Arguments& arguments);

  // For macros and loops that call themselves: the text that the body writes.
  Result<Value> call_macro(const MacroDefinition& macro, const ScopePointer& scope,
                           const Arguments& arguments);
  Result<Value> capture_loop(const Statement& loop, const ScopePointer& scope, const Value& items, int depth);

 private:
  enum class Flow { kNormal, kBreak, kContinue };
  class Nesting;

  Status check_depth() const;
  Status write(std::string_view text);
  Result<std::string> capture(const Body& body, const ScopePointer& scope);

  // statements.cc
  Result<Flow> execute(const Body& body, const ScopePointer& scope);
  Result<Flow> execute(const Statement& statement, const ScopePointer& scope);
  Result<Flow> execute_if(const Statement& statement, const ScopePointer& scope);
  Result<Flow> execute_section(const Statement& statement, const ScopePointer& scope);
  Result<Flow> execute_for(const Statement& statement, const ScopePointer& scope, const Value& items,
                           int depth);
  Result<const List*> select_items(const Statement& loop, const ScopePointer& scope, const Value& items);
  Status execute_print(const Statement& statement, const ScopePointer& scope);
  Status execute_set_section(const Statement& statement, const ScopePointer& scope);
  Status execute_macro(const Statement& statement, const ScopePointer& scope);
  Status execute_call(const Statement& statement, const ScopePointer& scope);
  Status execute_filter(const Statement& statement, const ScopePointer& scope);
  Status assign(const Expression& target, const Value& value, const ScopePointer& scope);
  Status bind_parameters(const MacroDefinition& macro, const Arguments& arguments, const ScopePointer& scope);

  // expressions.cc
  Result<Value> evaluate(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_node(const Expression& node, const ScopePointer& scope);
  Result<Value> look_up(std::string_view name, const ScopePointer& scope);
  Result<Value> evaluate_items(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_dict(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_logic(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_binary(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_compare(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_concat(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_conditional(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_access(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_slice(const Expression& node, const ScopePointer& scope);
  Result<Value> evaluate_call(const Expression& node, const ScopePointer& scope);
  // Through the filters of a section, whose innermost value is `text`.
  Result<Value> evaluate_filter(const Expression& node, const ScopePointer& scope, const Value* text);
  Result<Value> evaluate_test(const Expression& node, const ScopePointer& scope);
  Result<Arguments> evaluate_arguments(const Expression& node, const ScopePointer& scope);

  const Program& program_;
  Arena arena_;
  std::time_t now_;
  std::string* out_ = nullptr;  // what write() appends to
  bool capturing_ = false;      // out_ is not the rendering's own result
  int depth_ = 0;
  int line_ = 0;  // of the statement being executed
  std::unordered_map<std::string_view, Value> functions_;
};

}  // namespace fathom::jinja
