// Filters on lists, dicts and single values.
#include <algorithm>

#include "text/jinja/arguments.h"
#include "text/jinja/attribute_path.h"
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/named.h"
#include "text/jinja/operators.h"
#include "text/jinja/sorting.h"
#include "text/jinja/text_helpers.h"
#include "text/jinja/unicode_text.h"

namespace fathom::jinja {
namespace {

LetterCase letter_case(bool sensitive) { return sensitive ? LetterCase::kKept : LetterCase::kIgnored; }

Result<Value> length(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  size_t count = 0;
  if (value.is_string()) {
    FATHOM_RETURN_IF_ERROR(evaluator.arena().scan(value.as_string().size()));
    count = count_code_points(value.as_string());
  } else if (value.is_sequence()) {
    count = value.as_list().size();
  } else if (value.is_dict()) {
    count = value.as_dict().entries().size();
  } else if (!value.is_undefined()) {
    return invalid_argument("a {} has no length", type_name(value));
  }
  return Value::integer(static_cast<Integer>(count));
}

Result<Value> first(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items(evaluator, value));
  return items->empty() ? Value::undefined("first item") : items->front();
}

Result<Value> last(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items(evaluator, value));
  return items->empty() ? Value::undefined("last item") : items->back();
}

Result<Value> join(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"d", "attribute"}));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view separator, bound.text(0, ""));
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items(evaluator, value));
  if (!bound.has(1)) return join_texts(evaluator, *items, separator);
  List members;
  for (const Value& item : *items) {
    FATHOM_ASSIGN_OR_RETURN(const Value member, follow_path(evaluator, item, bound[1]));
    members.push_back(member);
  }
  return join_texts(evaluator, members, separator);
}

Result<Value> to_list(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items(evaluator, value));
  return evaluator.arena().make_list(*items);
}

Result<Value> reverse(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  if (value.is_string()) {
    SliceParts parts;
    parts.step = Value::integer(-1);
    return get_slice(evaluator, value, parts);
  }
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items(evaluator, value));
  return evaluator.arena().make_list(List(items->rbegin(), items->rend()));
}

Result<Value> default_value(Evaluator&, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"default_value", "boolean"}));
  FATHOM_ASSIGN_OR_RETURN(const bool boolean, bound.boolean(1, false));
  if (!value.is_undefined() && (!boolean || is_true(value))) return value;
  return bound.has(0) ? bound[0] : Value::string("");
}

// All items with their keys.
Result<std::vector<KeyedValue>> keyed_items(Evaluator& evaluator, const Value& value, const Value& path,
                                            LetterCase letters, const Value& absent = Value()) {
  FATHOM_ASSIGN_OR_RETURN(const List* items, get_items(evaluator, value));
  FATHOM_RETURN_IF_ERROR(evaluator.arena().charge(items->size() * sizeof(KeyedValue)));
  std::vector<KeyedValue> keyed;
  for (const Value& item : *items) {
    FATHOM_ASSIGN_OR_RETURN(const Value key, sort_key(evaluator, item, path, letters, absent));
    keyed.push_back({key, item});
  }
  return keyed;
}

Result<Value> values_of(Evaluator& evaluator, const std::vector<KeyedValue>& keyed) {
  List items;
  for (const KeyedValue& item : keyed) items.push_back(item.value);
  return evaluator.arena().make_list(std::move(items));
}

Result<Value> sort(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"reverse", "case_sensitive", "attribute"}));
  FATHOM_ASSIGN_OR_RETURN(const bool descending, bound.boolean(0, false));
  FATHOM_ASSIGN_OR_RETURN(const bool sensitive, bound.boolean(1, false));
  FATHOM_ASSIGN_OR_RETURN(std::vector<KeyedValue> keyed,
                          keyed_items(evaluator, value, bound[2], letter_case(sensitive)));
  FATHOM_RETURN_IF_ERROR(sort_by_key(evaluator, keyed, descending ? Order::kDescending : Order::kAscending));
  return values_of(evaluator, keyed);
}

// Keeps the first of those with equal keys. Quadratic in the number of different keys, which is counted.
Result<Value> unique(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"case_sensitive", "attribute"}));
  FATHOM_ASSIGN_OR_RETURN(const bool sensitive, bound.boolean(0, false));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<KeyedValue> keyed,
                          keyed_items(evaluator, value, bound[1], letter_case(sensitive)));
  std::vector<KeyedValue> kept;
  for (const KeyedValue& item : keyed) {
    FATHOM_RETURN_IF_ERROR(evaluator.arena().step(1 + kept.size() / 16));
    bool seen = false;
    for (size_t i = 0; i < kept.size() && !seen; ++i) {
      FATHOM_ASSIGN_OR_RETURN(seen, equals(kept[i].key, item.key));
    }
    if (!seen) kept.push_back(item);
  }
  return values_of(evaluator, kept);
}

enum class Extreme { kLeast, kGreatest };

template <Extreme kExtreme>
Result<Value> extreme(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"case_sensitive", "attribute"}));
  FATHOM_ASSIGN_OR_RETURN(const bool sensitive, bound.boolean(0, false));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<KeyedValue> keyed,
                          keyed_items(evaluator, value, bound[1], letter_case(sensitive)));
  if (keyed.empty()) return Value::undefined("item of an empty list");
  size_t best = 0;
  for (size_t i = 1; i < keyed.size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const bool better, kExtreme == Extreme::kLeast
                                                   ? less_than(keyed[i].key, keyed[best].key)
                                                   : less_than(keyed[best].key, keyed[i].key));
    if (better) best = i;
  }
  return keyed[best].value;
}

Result<Value> items(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(BoundArguments::bind(arguments, {}).status());
  if (value.is_undefined()) return evaluator.arena().make_list({});
  if (!value.is_dict()) return invalid_argument("a {} is no dict", type_name(value));
  return find_dict_method("items")(evaluator, value, {});
}

Result<Value> dict_sort(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"case_sensitive", "by", "reverse"}));
  FATHOM_ASSIGN_OR_RETURN(const bool sensitive, bound.boolean(0, false));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view by, bound.text(1, "key"));
  FATHOM_ASSIGN_OR_RETURN(const bool descending, bound.boolean(2, false));
  if (by != "key" && by != "value") return invalid_argument("by is \"{}\", not key or value", by);
  FATHOM_ASSIGN_OR_RETURN(const Value pairs, items(evaluator, value, {}));
  FATHOM_ASSIGN_OR_RETURN(
      std::vector<KeyedValue> keyed,
      keyed_items(evaluator, pairs, Value::integer(by == "key" ? 0 : 1), letter_case(sensitive)));
  FATHOM_RETURN_IF_ERROR(sort_by_key(evaluator, keyed, descending ? Order::kDescending : Order::kAscending));
  return values_of(evaluator, keyed);
}

Result<Value> batch(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"linecount", "fill_with"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const Integer count, bound.integer(0, 1));
  FATHOM_ASSIGN_OR_RETURN(const List* all, get_items(evaluator, value));
  if (count < 1 || count > (Integer{1} << 20)) return invalid_argument("linecount {} is out of range", count);
  const auto size = static_cast<size_t>(count);
  List batches;
  for (size_t begin = 0; begin < all->size(); begin += size) {
    const size_t end = std::min(begin + size, all->size());
    List part(all->begin() + static_cast<ptrdiff_t>(begin), all->begin() + static_cast<ptrdiff_t>(end));
    if (bound.has(1) && !bound[1].is_none()) part.resize(size, bound[1]);
    FATHOM_ASSIGN_OR_RETURN(const Value list, evaluator.arena().make_list(std::move(part)));
    batches.push_back(list);
  }
  return evaluator.arena().make_list(std::move(batches));
}

// Pairs of key and list, ordered by key.
Result<Value> group_by(Evaluator& evaluator, const Value& value, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::bind(arguments, {"attribute", "default", "case_sensitive"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const bool sensitive, bound.boolean(2, false));
  FATHOM_ASSIGN_OR_RETURN(std::vector<KeyedValue> keyed,
                          keyed_items(evaluator, value, bound[0], letter_case(sensitive), bound[1]));
  FATHOM_RETURN_IF_ERROR(sort_by_key(evaluator, keyed, Order::kAscending));
  List groups;
  for (size_t begin = 0; begin < keyed.size();) {
    List members;
    size_t end = begin;
    while (end < keyed.size()) {
      FATHOM_ASSIGN_OR_RETURN(const bool same, equals(keyed[begin].key, keyed[end].key));
      if (!same) break;
      members.push_back(keyed[end++].value);
    }
    FATHOM_ASSIGN_OR_RETURN(const Value name, follow_path(evaluator, keyed[begin].value, bound[0], bound[1]));
    FATHOM_ASSIGN_OR_RETURN(const Value list, evaluator.arena().make_list(std::move(members)));
    FATHOM_ASSIGN_OR_RETURN(const Value group, evaluator.arena().make_tuple({name, list}));
    groups.push_back(group);
    begin = end;
  }
  return evaluator.arena().make_list(std::move(groups));
}

constexpr Named<FilterFunction> kListFilters[] = {
    {"length", length},
    {"count", length},
    {"first", first},
    {"last", last},
    {"join", join},
    {"list", to_list},
    {"reverse", reverse},
    {"default", default_value},
    {"d", default_value},
    {"sort", sort},
    {"unique", unique},
    {"min", extreme<Extreme::kLeast>},
    {"max", extreme<Extreme::kGreatest>},
    {"items", items},
    {"dictsort", dict_sort},
    {"batch", batch},
    {"groupby", group_by},
};

}  // namespace

FilterFunction find_list_filter(std::string_view name) { return find_named(kListFilters, name); }

}  // namespace fathom::jinja
