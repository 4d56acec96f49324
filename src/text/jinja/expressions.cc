// The expressions of Evaluator.
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/evaluator_nesting.h"
#include "text/jinja/format.h"
#include "text/jinja/operators.h"

namespace fathom::jinja {

using ExpressionKind = Expression::Kind;

Result<Value> Evaluator::evaluate(const Expression& node, const ScopePointer& scope) {
  const Nesting nesting(depth_);
  FATHOM_RETURN_IF_ERROR(check_depth());
  FATHOM_RETURN_IF_ERROR(arena_.step());
  return evaluate_node(node, scope);
}

Result<Value> Evaluator::evaluate_node(const Expression& node, const ScopePointer& scope) {
  switch (node.kind) {
    case ExpressionKind::kConstant:
      return node.constant;
    case ExpressionKind::kName:
      return look_up(node.text, scope);
    case ExpressionKind::kList:
    case ExpressionKind::kTuple:
      return evaluate_items(node, scope);
    case ExpressionKind::kDict:
      return evaluate_dict(node, scope);
    case ExpressionKind::kNot:
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr:
      return evaluate_logic(node, scope);
    case ExpressionKind::kUnary:
    case ExpressionKind::kBinary:
      return evaluate_binary(node, scope);
    case ExpressionKind::kCompare:
      return evaluate_compare(node, scope);
    case ExpressionKind::kConcat:
      return evaluate_concat(node, scope);
    case ExpressionKind::kConditional:
      return evaluate_conditional(node, scope);
    case ExpressionKind::kAttribute:
    case ExpressionKind::kItem:
      return evaluate_access(node, scope);
    case ExpressionKind::kSlice:
      return evaluate_slice(node, scope);
    case ExpressionKind::kCall:
      return evaluate_call(node, scope);
    case ExpressionKind::kFilter:
      return evaluate_filter(node, scope, nullptr);
    case ExpressionKind::kTest:
      return evaluate_test(node, scope);
    case ExpressionKind::kNamespaceRef:
      break;
  }
  return invalid_argument("\"{}\" is no expression", node.text);
}

Result<Value> Evaluator::look_up(std::string_view name, const ScopePointer& scope) {
  if (const Value* value = scope->find(name)) return *value;
  const auto known = functions_.find(name);
  if (known != functions_.end()) return known->second;
  const Function function = find_function(name);
  if (function == nullptr) return Value::undefined(name);
  FATHOM_ASSIGN_OR_RETURN(const Value value, make_function(*this, function));
  functions_.emplace(name, value);
  return value;
}

Result<Value> Evaluator::evaluate_items(const Expression& node, const ScopePointer& scope) {
  List items;
  items.reserve(node.children.size());
  for (const Expression* child : node.children) {
    FATHOM_ASSIGN_OR_RETURN(const Value item, evaluate(*child, scope));
    items.push_back(item);
  }
  return node.kind == ExpressionKind::kList ? arena_.make_list(std::move(items))
                                            : arena_.make_tuple(std::move(items));
}

Result<Value> Evaluator::evaluate_dict(const Expression& node, const ScopePointer& scope) {
  Dict dict;
  for (size_t i = 0; i < node.children.size(); i += 2) {
    FATHOM_ASSIGN_OR_RETURN(const Value key, evaluate(*node.children[i], scope));
    if (!Dict::can_be_key(key)) return invalid_argument("a {} cannot be a key", type_name(key));
    FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*node.children[i + 1], scope));
    dict.set(key, value);
  }
  return arena_.make_dict(std::move(dict));
}

Result<Value> Evaluator::evaluate_logic(const Expression& node, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value left, evaluate(*node.children[0], scope));
  if (node.kind == ExpressionKind::kNot) return Value::boolean(!is_true(left));
  if (is_true(left) == (node.kind == ExpressionKind::kOr)) return left;
  return evaluate(*node.children[1], scope);
}

Result<Value> Evaluator::evaluate_binary(const Expression& node, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value left, evaluate(*node.children[0], scope));
  if (node.kind == ExpressionKind::kUnary) {
    if (!left.is_number()) return invalid_argument("a {} cannot have a sign", type_name(left));
    return node.text == "-" ? negate(left) : left;
  }
  FATHOM_ASSIGN_OR_RETURN(const Value right, evaluate(*node.children[1], scope));
  return apply_binary(*this, node.text, left, right);
}

Result<Value> Evaluator::evaluate_compare(const Expression& node, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(Value left, evaluate(*node.children[0], scope));
  for (size_t i = 0; i < node.operators.size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const Value right, evaluate(*node.children[i + 1], scope));
    FATHOM_ASSIGN_OR_RETURN(const bool holds, apply_compare(*this, node.operators[i], left, right));
    if (!holds) return Value::boolean(false);
    left = right;
  }
  return Value::boolean(true);
}

Result<Value> Evaluator::evaluate_concat(const Expression& node, const ScopePointer& scope) {
  std::string text;
  for (const Expression* child : node.children) {
    FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*child, scope));
    FATHOM_ASSIGN_OR_RETURN(const std::string part, to_text(arena_, value));
    text += part;
  }
  return arena_.keep_charged(std::move(text));
}

Result<Value> Evaluator::evaluate_conditional(const Expression& node, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value condition, evaluate(*node.children[1], scope));
  if (is_true(condition)) return evaluate(*node.children[0], scope);
  if (node.children[2] == nullptr) return Value::undefined("the missing else of an inline if");
  return evaluate(*node.children[2], scope);
}

Result<Value> Evaluator::evaluate_access(const Expression& node, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*node.children[0], scope));
  if (node.kind == ExpressionKind::kAttribute) return get_attribute(*this, value, node.text);
  FATHOM_ASSIGN_OR_RETURN(const Value key, evaluate(*node.children[1], scope));
  return get_item(*this, value, key);
}

Result<Value> Evaluator::evaluate_slice(const Expression& node, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*node.children[0], scope));
  SliceParts parts;
  Value* const targets[] = {&parts.start, &parts.stop, &parts.step};
  for (size_t i = 0; i < 3; ++i) {
    if (node.children[i + 1] == nullptr) continue;
    FATHOM_ASSIGN_OR_RETURN(*targets[i], evaluate(*node.children[i + 1], scope));
  }
  return get_slice(*this, value, parts);
}

Result<Arguments> Evaluator::evaluate_arguments(const Expression& node, const ScopePointer& scope) {
  Arguments arguments;
  for (size_t i = 1; i < node.children.size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*node.children[i], scope));
    arguments.positional.push_back(value);
  }
  for (const auto& [name, expression] : node.named) {
    FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*expression, scope));
    arguments.named.emplace_back(name, value);
  }
  return arguments;
}

Result<Value> Evaluator::evaluate_call(const Expression& node, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value function, evaluate(*node.children[0], scope));
  FATHOM_ASSIGN_OR_RETURN(const Arguments arguments, evaluate_arguments(node, scope));
  return call(function, arguments);
}

Result<Value> Evaluator::evaluate_filter(const Expression& node, const ScopePointer& scope,
                                         const Value* text) {
  const Nesting nesting(depth_);
  FATHOM_RETURN_IF_ERROR(check_depth());
  Value value;
  const Expression* inner = node.children[0];
  if (inner == nullptr) {
    value = *text;
  } else if (inner->kind == ExpressionKind::kFilter) {
    FATHOM_ASSIGN_OR_RETURN(value, evaluate_filter(*inner, scope, text));
  } else {
    FATHOM_ASSIGN_OR_RETURN(value, evaluate(*inner, scope));
  }
  FATHOM_ASSIGN_OR_RETURN(const Arguments arguments, evaluate_arguments(node, scope));
  return apply_filter(node.text, value, arguments);
}

Result<Value> Evaluator::evaluate_test(const Expression& node, const ScopePointer& scope) {
  FATHOM_ASSIGN_OR_RETURN(const Value value, evaluate(*node.children[0], scope));
  FATHOM_ASSIGN_OR_RETURN(const Arguments arguments, evaluate_arguments(node, scope));
  FATHOM_ASSIGN_OR_RETURN(const bool holds, apply_test(node.text, value, arguments));
  return Value::boolean(holds);
}

}  // namespace fathom::jinja
