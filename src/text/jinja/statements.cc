// The statements of Evaluator.
#include <algorithm>

#include "text/jinja/callables.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/evaluator_nesting.h"
#include "text/jinja/format.h"
#include "text/jinja/operators.h"

namespace fathom::jinja {

using StatementKind = Statement::Kind;

Result<Evaluator::Flow> Evaluator::execute(const Body& body, const ScopePointer& scope) {
  for (const Statement* statement : body) {
    FATHOM_ASSIGN_OR_RETURN(const Flow flow, execute(*statement, scope));
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Result<Evaluator::Flow> Evaluator::execute(const Statement& statement, const ScopePointer& scope) {
  const Nesting nesting(depth_);
  FATHOM_RETURN_IF_ERROR(check_depth());
  FATHOM_RETURN_IF_ERROR(arena_.step());
  line_ = statement.line;
  Status status;
  switch (statement.kind) {
    case StatementKind::kText:
      status = write(statement.text);
      break;
    case StatementKind::kPrint:
      status = execute_print(statement, scope);
      break;
    case StatementKind::kIf:
      return execute_if(statement, scope);
    case StatementKind::kFor: {
      FATHOM_ASSIGN_OR_RETURN(const Value items, evaluate(*statement.value, scope));
      return execute_for(statement, scope, items, 0);
    }
    case StatementKind::kSet: {
      FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*statement.value, scope));
      status = assign(*statement.target, value, scope);
      break;
    }
    case StatementKind::kSetSection:
      status = execute_set_section(statement, scope);
      break;
    case StatementKind::kMacro:
      status = execute_macro(statement, scope);
      break;
    case StatementKind::kCall:
      status = execute_call(statement, scope);
      break;
    case StatementKind::kFilter:
      status = execute_filter(statement, scope);
      break;
    case StatementKind::kWith:
    case StatementKind::kSection:
      return execute_section(statement, scope);
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  if (!status.ok()) return status;
  return Flow::kNormal;
}

Status Evaluator::execute_print(const Statement& statement, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*statement.value, scope));
  FATHOM_ASSIGN_OR_RETURN(const Value text, to_string_value(arena_, value));
  return write(text.as_string());
}

Result<Evaluator::Flow> Evaluator::execute_if(const Statement& statement, const ScopePointer& scope) {
  for (const Statement::Branch& branch : statement.branches) {
    if (branch.condition != nullptr) {
      FATHOM_ASSIGN_OR_RETURN(const Value condition, evaluate(*branch.condition, scope));
      if (!is_true(condition)) continue;
    }
    return execute(branch.body, scope);
  }
  return Flow::kNormal;
}

// The values of {% with %} see what lies outside, not each other.
Result<Evaluator::Flow> Evaluator::execute_section(const Statement& statement, const ScopePointer& scope) {
  const auto inner = std::make_shared<Scope>(scope);
  for (const auto& [target, expression] : statement.assignments) {
    FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*expression, scope));
    FATHOM_RETURN_IF_ERROR(assign(*target, value, inner));
  }
  return execute(statement.body, inner);
}

// Those for which the condition of the loop holds.
Result<const List*> Evaluator::select_items(const Statement& loop, const ScopePointer& scope,
                                            const Value& items) {
  FATHOM_ASSIGN_OR_RETURN(const List* all, get_items(*this, items));
  if (loop.condition == nullptr) return all;
  List selected;
  for (const Value& item : *all) {
    const auto inner = std::make_shared<Scope>(scope);
    FATHOM_RETURN_IF_ERROR(assign(*loop.target, item, inner));
    FATHOM_ASSIGN_OR_RETURN(const Value condition, evaluate(*loop.condition, inner));
    if (is_true(condition)) selected.push_back(item);
  }
  FATHOM_ASSIGN_OR_RETURN(const Value list, arena_.make_list(std::move(selected)));
  return &list.as_list();
}

Result<Evaluator::Flow> Evaluator::execute_for(const Statement& statement, const ScopePointer& scope,
                                               const Value& items, int depth) {
  FATHOM_ASSIGN_OR_RETURN(const List* selected, select_items(statement, scope, items));
  auto owned = std::make_unique<LoopObject>(statement, scope, *selected, depth);
  LoopObject& loop = *owned;
  FATHOM_ASSIGN_OR_RETURN(const Value loop_value, arena_.make_callable(std::move(owned)));
  bool any_completed = false;
  for (size_t i = 0; i < selected->size(); ++i) {
    FATHOM_RETURN_IF_ERROR(arena_.step());
    loop.set_index(i);
    const auto inner = std::make_shared<Scope>(scope);
    inner->set("loop", loop_value);
    FATHOM_RETURN_IF_ERROR(assign(*statement.target, (*selected)[i], inner));
    FATHOM_ASSIGN_OR_RETURN(const Flow flow, execute(statement.body, inner));
    if (flow == Flow::kBreak) break;
    any_completed = any_completed || flow == Flow::kNormal;
  }
  // As in Jinja, rounds that a break or continue ended do not count. A break in here is the outer loop's.
  if (any_completed) return Flow::kNormal;
  return execute(statement.otherwise, std::make_shared<Scope>(scope));
}

Status Evaluator::execute_set_section(const Statement& statement, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(std::string text, capture(statement.body, std::make_shared<Scope>(scope)));
  Value value = arena_.keep_charged(std::move(text));
  if (statement.value != nullptr) {
    FATHOM_ASSIGN_OR_RETURN(value, evaluate_filter(*statement.value, scope, &value));
  }
  return assign(*statement.target, value, scope);
}

Status Evaluator::execute_macro(const Statement& statement, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value macro,
                          arena_.make_callable(std::make_unique<Macro>(statement.macro, scope)));
  scope->set(statement.macro.name, macro);
  return ok_status();
}

// {% call f(x) %}body{% endcall %}: f gets the body as the macro `caller`.
Status Evaluator::execute_call(const Statement& statement, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value caller,
                          arena_.make_callable(std::make_unique<Macro>(statement.macro, scope)));
  FATHOM_ASSIGN_OR_RETURN(const Value function, evaluate(*statement.value->children[0], scope));
  FATHOM_ASSIGN_OR_RETURN(Arguments arguments, evaluate_arguments(*statement.value, scope));
  arguments.named.emplace_back("caller", caller);
  FATHOM_ASSIGN_OR_RETURN(const Value result, call(function, arguments));
  FATHOM_ASSIGN_OR_RETURN(const Value text, to_string_value(arena_, result));
  return write(text.as_string());
}

Status Evaluator::execute_filter(const Statement& statement, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(std::string text, capture(statement.body, std::make_shared<Scope>(scope)));
  const Value value = arena_.keep_charged(std::move(text));
  FATHOM_ASSIGN_OR_RETURN(const Value filtered, evaluate_filter(*statement.value, scope, &value));
  FATHOM_ASSIGN_OR_RETURN(const Value result, to_string_value(arena_, filtered));
  return write(result.as_string());
}

Status Evaluator::assign(const Expression& target, const Value& value, const ScopePointer& scope) {
  if (target.kind == Expression::Kind::kName) {
    scope->set(target.text, value);
    return ok_status();
  }
  if (target.kind == Expression::Kind::kNamespaceRef) {
    FATHOM_ASSIGN_OR_RETURN(const Value space, look_up(target.children[0]->text, scope));
    if (space.kind() != Value::Kind::kNamespace) {
      return invalid_argument("{}.{} is set, but {} is a {}, not a namespace", target.children[0]->text,
                              target.text, target.children[0]->text, type_name(space));
    }
    if (target.text.starts_with('_')) return invalid_argument("a namespace cannot have \"{}\"", target.text);
    space.as_namespace().members[target.text] = value;
    return ok_status();
  }
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items(*this, value));
  if (items->size() != target.children.size()) {
    return invalid_argument("{} values for {} names", items->size(), target.children.size());
  }
  for (size_t i = 0; i < items->size(); ++i) {
    FATHOM_RETURN_IF_ERROR(assign(*target.children[i], (*items)[i], scope));
  }
  return ok_status();
}

Result<Value> Evaluator::capture_loop(const Statement& loop, const ScopePointer& scope, const Value& items,
                                      int depth) {
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  const bool outer_capturing = std::exchange(capturing_, true);
  const Status status = execute_for(loop, scope, items, depth).status();
  out_ = outer;
  capturing_ = outer_capturing;
  if (!status.ok()) return status;
  return arena_.keep_charged(std::move(text));
}

Result<Value> Evaluator::call_macro(const MacroDefinition& macro, const ScopePointer& scope,
                                    const Arguments& arguments) {
  const int line = line_;
  const auto inner = std::make_shared<Scope>(scope);
  Status bound = bind_parameters(macro, arguments, inner);
  if (!bound.ok()) return bound.with_context(fmt::format("macro {}", macro.name));
  FATHOM_ASSIGN_OR_RETURN(std::string text, capture(macro.body, inner));
  line_ = line;
  return arena_.keep_charged(std::move(text));
}

Status Evaluator::bind_parameters(const MacroDefinition& macro, const Arguments& arguments,
                                  const ScopePointer& scope) {
  const size_t num_parameters = macro.parameters.size();
  std::vector<bool> given(num_parameters);
  List more;
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i >= num_parameters) {
      more.push_back(arguments.positional[i]);
      continue;
    }
    scope->set(macro.parameters[i], arguments.positional[i]);
    given[i] = true;
  }
  if (!more.empty() && !macro.uses_varargs) {
    return invalid_argument("{} arguments for {} parameters", arguments.positional.size(), num_parameters);
  }
  Dict more_named;
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(macro.parameters.begin(), macro.parameters.end(), name);
    if (found != macro.parameters.end()) {
      const auto index = static_cast<size_t>(found - macro.parameters.begin());
      if (given[index]) return invalid_argument("two values for the parameter \"{}\"", name);
      scope->set(*found, value);
      given[index] = true;
    } else if (name == "caller") {
      scope->set("caller", value);
    } else if (macro.uses_kwargs) {
      more_named.set(Value::string(name), value);
    } else {
      return invalid_argument("no parameter is called \"{}\"", name);
    }
  }
  FATHOM_ASSIGN_OR_RETURN(const Value varargs, arena_.make_tuple(std::move(more)));
  FATHOM_ASSIGN_OR_RETURN(const Value kwargs, arena_.make_dict(std::move(more_named)));
  if (macro.uses_varargs) scope->set("varargs", varargs);
  if (macro.uses_kwargs) scope->set("kwargs", kwargs);
  const size_t first_default = num_parameters - macro.defaults.size();
  for (size_t i = 0; i < num_parameters; ++i) {
    if (given[i]) continue;
    Value value = Value::undefined(macro.parameters[i]);
    if (i >= first_default) {
      FATHOM_ASSIGN_OR_RETURN(value, evaluate(*macro.defaults[i - first_default], scope));
    }
    scope->set(macro.parameters[i], value);
  }
  return ok_status();
}

}  // namespace fathom::jinja
