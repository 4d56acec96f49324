// Values of the template language, with Python's meaning: none, undefined, booleans, integers, floats,
// strings of code points, lists, tuples, dicts in order of insertion, namespaces and things to call. A value
// is a small handle; what it points to belongs to the rendering's arena (text/jinja/arena.h) or to the
// caller's JSON and never changes after it is complete, namespaces apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"

namespace fathom::jinja {

class Dict;
class Callable;
struct Namespace;

// Wide enough for all 64-bit numbers of JSON, signed and unsigned; overflow is an error.
using Integer = __int128;

class Value {
 public:
  enum class Kind {
    kUndefined,
    kNone,
    kBool,
    kInteger,
    kFloat,
    kString,
    kList,
    kTuple,
    kDict,
    kNamespace,
    kCallable
  };
  using List = std::vector<Value>;

  // Undefined without a name.
  Value() = default;
  static Value undefined(std::string_view name) { return Value(Kind::kUndefined, name); }
  static Value none() { return Value(Kind::kNone); }
  static Value boolean(bool value) {
    Value result(Kind::kBool);
    result.integer_ = value ? 1 : 0;
    return result;
  }
  static Value integer(Integer value) {
    Value result(Kind::kInteger);
    result.integer_ = value;
    return result;
  }
  static Value real(double value) {
    Value result(Kind::kFloat);
    result.real_ = value;
    return result;
  }
  // The characters, well-formed UTF-8, must outlive the value.
  static Value string(std::string_view text) { return Value(Kind::kString, text); }
  static Value list(const List* items) { return Value(Kind::kList, items); }
  static Value tuple(const List* items) { return Value(Kind::kTuple, items); }
  static Value dict(const Dict* dict) { return Value(Kind::kDict, dict); }
  static Value name_space(Namespace* space) { return Value(Kind::kNamespace, space); }
  static Value callable(const Callable* function) { return Value(Kind::kCallable, function); }

  Kind kind() const { return kind_; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool is_dict() const { return kind_ == Kind::kDict; }
  // Integers and booleans, which count as 0 and 1.
  bool is_integral() const { return kind_ == Kind::kInteger || kind_ == Kind::kBool; }
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }

  // Precondition for each: the kind that the name says.
  bool as_bool() const { return integer_ != 0; }
  Integer as_integer() const { return integer_; }  // is_integral()
  double as_real() const {
    return kind_ == Kind::kFloat ? real_ : static_cast<double>(integer_);
  }  // is_number()
  std::string_view as_string() const { return text_; }
  const List& as_list() const { return *static_cast<const List*>(object_); }  // is_sequence()
  const Dict& as_dict() const { return *static_cast<const Dict*>(object_); }
  Namespace& as_namespace() const { return *static_cast<Namespace*>(const_cast<void*>(object_)); }
  const Callable& as_callable() const { return *static_cast<const Callable*>(object_); }
  // Of an undefined value: what was looked for.
  std::string_view name() const { return text_; }
  // Whether both are the same object, as Python's `is` says.
  bool same_as(const Value& other) const;

 private:
  explicit Value(Kind kind) : kind_(kind), integer_(0) {}
  Value(Kind kind, std::string_view text) : kind_(kind), text_(text) {}
  Value(Kind kind, const void* object) : kind_(kind), object_(object) {}

  Kind kind_ = Kind::kUndefined;
  union {
    Integer integer_;
    double real_;
    std::string_view text_ = {};
    const void* object_;
  };
};

using List = Value::List;

// Keys in order of insertion. Complete before anybody else sees it.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  // A key that is there keeps its place and gets the new value. Keys are strings, numbers, booleans or none.
  void set(const Value& key, const Value& value);
  // nullptr: no such key.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  const std::vector<Entry>& entries() const { return entries_; }
  static bool can_be_key(const Value& key);

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, size_t> by_name_;  // index of string keys
  std::vector<size_t> others_;                            // index of all other keys
};

struct Namespace {
  std::unordered_map<std::string_view, Value> members;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

class Evaluator;

// Macros, functions, methods bound to their value, and loop objects.
class Callable {
 public:
  virtual ~Callable() = default;
  virtual Result<Value> call(Evaluator& evaluator, const Arguments& arguments) const = 0;
  // Attributes such as loop.index; undefined by default.
  virtual Result<Value> attribute(Evaluator& evaluator, std::string_view name) const;
};

// What messages call a kind: Python's name of the type.
std::string_view type_name(const Value& value);

bool is_true(const Value& value);

// ==. Fails when the values are nested deeper than the limit.
Result<bool> equals(const Value& left, const Value& right, int depth = 0);
// <. Numbers, strings, and lists or tuples item by item; other pairs are an error.
Result<bool> less_than(const Value& left, const Value& right, int depth = 0);

// How deep values may be nested when they are compared or printed.
inline constexpr int kMaxValueDepth = 200;
Status value_too_deep();  // what a deeper one fails with

}  // namespace fathom::jinja
