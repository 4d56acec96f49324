// Filters that apply other filters and tests: map, select, reject, selectattr, rejectattr, attr.
#include "text/jinja/arguments.h"
#include "text/jinja/attribute_path.h"
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/named.h"
#include "text/jinja/operators.h"

namespace fathom::jinja {
namespace {

enum class Keep { kMatching, kOthers };
enum class Subject { kItem, kAttribute };

// The arguments from `first` on.
Arguments rest_of(const Arguments& arguments, size_t first) {
  Arguments rest;
  for (size_t i = first; i < arguments.positional.size(); ++i)
    rest.positional.push_back(arguments.positional[i]);
  rest.named = arguments.named;
  return rest;
}

// Like get_items, but whatever is not true has no items: none, 0, false.
Result<const List*> get_items_if_true(Evaluator& evaluator, const Value& value) {
  return get_items(evaluator, is_true(value) ? value : Value());
}

// [attribute,] [test, test arguments ..]; without a test, whether the subject is true.
template <Keep kKeep, Subject kSubject>
Result<Value> select(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  constexpr size_t kTest = kSubject == Subject::kAttribute ? 1 : 0;
  if (arguments.positional.size() < kTest) return invalid_argument("the argument \"attribute\" is missing");
  const bool has_test = arguments.positional.size() > kTest;
  if (has_test && !arguments.positional[kTest].is_string())
    return invalid_argument("the test's name is not a str");
  const Arguments test_arguments = rest_of(arguments, kTest + 1);
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items_if_true(evaluator, value));
  List kept;
  for (const Value& item : *items) {
    FATHOM_RETURN_IF_ERROR(evaluator.arena().step());
    Value subject = item;
    if (kSubject == Subject::kAttribute) {
      FATHOM_ASSIGN_OR_RETURN(subject, follow_path(evaluator, item, arguments.positional[0]));
    }
    bool holds = is_true(subject);
    if (has_test) {
      FATHOM_ASSIGN_OR_RETURN(
          holds, evaluator.apply_test(arguments.positional[kTest].as_string(), subject, test_arguments));
    }
    if (holds == (kKeep == Keep::kMatching)) kept.push_back(item);
  }
  return evaluator.arena().make_list(std::move(kept));
}

// map(attribute=.., default=..)
Result<Value> map_attribute(Evaluator& evaluator, const List& items, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"attribute", "default"}, 1));
  List mapped;
  for (const Value& item : items) {
    FATHOM_ASSIGN_OR_RETURN(const Value member, follow_path(evaluator, item, bound[0], bound[1]));
    mapped.push_back(member);
  }
  return evaluator.arena().make_list(std::move(mapped));
}

// map("filter", filter arguments ..), or map_attribute.
Result<Value> map(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items_if_true(evaluator, value));
  if (arguments.positional.empty()) return map_attribute(evaluator, *items, arguments);
  if (!arguments.positional[0].is_string()) return invalid_argument("the filter's name is not a str");
  const std::string_view name = arguments.positional[0].as_string();
  if (find_filter(name) == nullptr) return unsupported("no filter named \"{}\"", name);
  const Arguments filter_arguments = rest_of(arguments, 1);
  List mapped;
  for (const Value& item : *items) {
    FATHOM_ASSIGN_OR_RETURN(const Value result, evaluator.apply_filter(name, item, filter_arguments));
    mapped.push_back(result);
  }
  return evaluator.arena().make_list(std::move(mapped));
}

Result<Value> attr(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"name"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view name, bound.text(0, ""));
  if (value.is_dict()) {  // attributes only, never items
    const Method method = find_method(value, name);
    return method != nullptr ? make_method(evaluator, value, method) : Value::undefined(name);
  }
  return get_attribute(evaluator, value, name);
}

constexpr Named<FilterFunction> kSelectFilters[] = {
    {"select", select<Keep::kMatching, Subject::kItem>},
    {"reject", select<Keep::kOthers, Subject::kItem>},
    {"selectattr", select<Keep::kMatching, Subject::kAttribute>},
    {"rejectattr", select<Keep::kOthers, Subject::kAttribute>},
    {"map", map},
    {"attr", attr},
};

}  // namespace

FilterFunction find_select_filter(std::string_view name) { return find_named(kSelectFilters, name); }

}  // namespace fathom::jinja
