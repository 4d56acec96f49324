#include "text/jinja/value.h"

#include <algorithm>

namespace fathom::jinja {
namespace {

using ValueKind = Value::Kind;

// Keys are equal as Python's are: 1 == 1.0 == True.
bool same_key(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_integral() && b.is_integral() ? a.as_integer() == b.as_integer() : a.as_real() == b.as_real();
  }
  if (a.is_string() && b.is_string()) return a.as_string() == b.as_string();
  return a.is_none() && b.is_none();
}

Result<bool> lists_equal(const List& left, const List& right, int depth) {
  if (left.size() != right.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const bool equal, equals(left[i], right[i], depth));
    if (!equal) return false;
  }
  return true;
}

Result<bool> dicts_equal(const Dict& left, const Dict& right, int depth) {
  if (left.entries().size() != right.entries().size()) return false;
  for (const auto& [key, value] : left.entries()) {
    const Value* other = right.find(key);
    if (other == nullptr) return false;
    FATHOM_ASSIGN_OR_RETURN(const bool equal, equals(value, *other, depth));
    if (!equal) return false;
  }
  return true;
}

}  // namespace

Status value_too_deep() {
  return resource_exhausted("a value is nested deeper than the limit of {} levels", kMaxValueDepth);
}

bool Value::same_as(const Value& other) const {
  if (kind_ != other.kind_) return false;
  switch (kind_) {
    case ValueKind::kUndefined:
    case ValueKind::kNone:
      return true;
    case ValueKind::kBool:
    case ValueKind::kInteger:
      return integer_ == other.integer_;
    case ValueKind::kFloat:
      return real_ == other.real_;
    case ValueKind::kString:
      return text_ == other.text_;
    default:
      return object_ == other.object_;
  }
}

bool Dict::can_be_key(const Value& key) { return key.is_string() || key.is_number() || key.is_none(); }

void Dict::set(const Value& key, const Value& value) {
  if (const Value* existing = find(key)) {
    *const_cast<Value*>(existing) = value;
    return;
  }
  if (key.is_string()) {
    by_name_.emplace(key.as_string(), entries_.size());
  } else {
    others_.push_back(entries_.size());
  }
  entries_.emplace_back(key, value);
}

const Value* Dict::find(const Value& key) const {
  if (key.is_string()) return find(key.as_string());
  for (const size_t index : others_) {
    if (same_key(entries_[index].first, key)) return &entries_[index].second;
  }
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  const auto found = by_name_.find(key);
  return found == by_name_.end() ? nullptr : &entries_[found->second].second;
}

Result<Value> Callable::attribute(Evaluator&, std::string_view name) const { return Value::undefined(name); }

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case ValueKind::kUndefined:
      return "undefined";
    case ValueKind::kNone:
      return "none";
    case ValueKind::kBool:
      return "bool";
    case ValueKind::kInteger:
      return "int";
    case ValueKind::kFloat:
      return "float";
    case ValueKind::kString:
      return "str";
    case ValueKind::kList:
      return "list";
    case ValueKind::kTuple:
      return "tuple";
    case ValueKind::kDict:
      return "dict";
    case ValueKind::kNamespace:
      return "namespace";
    case ValueKind::kCallable:
      return "function";
  }
  return "value";
}

bool is_true(const Value& value) {
  switch (value.kind()) {
    case ValueKind::kUndefined:
    case ValueKind::kNone:
      return false;
    case ValueKind::kBool:
    case ValueKind::kInteger:
      return value.as_integer() != 0;
    case ValueKind::kFloat:
      return value.as_real() != 0;
    case ValueKind::kString:
      return !value.as_string().empty();
    case ValueKind::kList:
    case ValueKind::kTuple:
      return !value.as_list().empty();
    case ValueKind::kDict:
      return !value.as_dict().entries().empty();
    case ValueKind::kNamespace:
    case ValueKind::kCallable:
      return true;
  }
  return false;
}

Result<bool> equals(const Value& left, const Value& right, int depth) {
  if (depth > kMaxValueDepth) return value_too_deep();
  if (left.is_number() && right.is_number()) return same_key(left, right);
  if (left.kind() != right.kind()) return false;
  if (left.is_sequence()) return lists_equal(left.as_list(), right.as_list(), depth + 1);
  if (left.is_dict()) return dicts_equal(left.as_dict(), right.as_dict(), depth + 1);
  return left.same_as(right);
}

Result<bool> less_than(const Value& left, const Value& right, int depth) {
  if (depth > kMaxValueDepth) return value_too_deep();
  if (left.is_integral() && right.is_integral()) return left.as_integer() < right.as_integer();
  if (left.is_number() && right.is_number()) return left.as_real() < right.as_real();
  // The order of UTF-8 bytes is the order of code points.
  if (left.is_string() && right.is_string()) return left.as_string() < right.as_string();
  if (left.is_sequence() && left.kind() == right.kind()) {
    const List& a = left.as_list();
    const List& b = right.as_list();
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      FATHOM_ASSIGN_OR_RETURN(const bool equal, equals(a[i], b[i], depth + 1));
      if (!equal) return less_than(a[i], b[i], depth + 1);
    }
    return a.size() < b.size();
  }
  return invalid_argument("cannot order {} and {}", type_name(left), type_name(right));
}

}  // namespace fathom::jinja
