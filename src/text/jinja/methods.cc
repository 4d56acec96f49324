// The methods of dicts and lists; those that change their value do not exist.
#include "text/jinja/arguments.h"
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/named.h"

namespace fathom::jinja {
namespace {

constexpr size_t kListItemsPerStep = 16;

Result<Value> dict_items(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  List items;
  for (const auto& [key, value] : self.as_dict().entries()) {
    FATHOM_ASSIGN_OR_RETURN(const Value pair, evaluator.arena().make_tuple({key, value}));
    items.push_back(pair);
  }
  return evaluator.arena().make_list(std::move(items));
}

Result<Value> dict_keys(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  List items;
  for (const auto& [key, value] : self.as_dict().entries()) items.push_back(key);
  return evaluator.arena().make_list(std::move(items));
}

Result<Value> dict_values(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  List items;
  for (const auto& [key, value] : self.as_dict().entries()) items.push_back(value);
  return evaluator.arena().make_list(std::move(items));
}

Result<Value> dict_get(Evaluator&, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"key", "default"}, 1));
  const Value* found = Dict::can_be_key(bound[0]) ? self.as_dict().find(bound[0]) : nullptr;
  if (found != nullptr) return *found;
  return bound.has(1) ? bound[1] : Value::none();
}

// Values never change, so a copy is the value itself.
Result<Value> copy(Evaluator&, const Value& self, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  return self;
}

Result<Value> list_count(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"value"}, 1));
  FATHOM_RETURN_IF_ERROR(evaluator.arena().step(self.as_list().size() / kListItemsPerStep));
  Integer count = 0;
  for (const Value& item : self.as_list()) {
    FATHOM_ASSIGN_OR_RETURN(const bool equal, equals(item, bound[0]));
    count += equal ? 1 : 0;
  }
  return Value::integer(count);
}

Result<Value> list_index(Evaluator& evaluator, const Value& self, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"value"}, 1));
  FATHOM_RETURN_IF_ERROR(evaluator.arena().step(self.as_list().size() / kListItemsPerStep));
  for (size_t i = 0; i < self.as_list().size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const bool equal, equals(self.as_list()[i], bound[0]));
    if (equal) return Value::integer(static_cast<Integer>(i));
  }
  return invalid_argument("the value is not in the list");
}

constexpr Named<Method> kDictMethods[] = {
    {"items", dict_items}, {"keys", dict_keys}, {"values", dict_values}, {"get", dict_get}, {"copy", copy},
};
constexpr Named<Method> kListMethods[] = {{"count", list_count}, {"index", list_index}, {"copy", copy}};

}  // namespace

Method find_dict_method(std::string_view name) { return find_named(kDictMethods, name); }
Method find_list_method(std::string_view name) { return find_named(kListMethods, name); }

}  // namespace fathom::jinja
