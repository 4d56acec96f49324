// The functions that every template can call, and methods as values.
#include <ctime>
#include <memory>

#include "text/jinja/arguments.h"
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/format.h"
#include "text/jinja/named.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

// Jinja's sandbox has the same limit.
constexpr Integer kMaxRange = 100'000;
constexpr size_t kMaxTimeBytes = 1024;

class FunctionObject : public Callable {
 public:
  explicit FunctionObject(Function function) : function_(function) {}
  Result<Value> call(Evaluator& evaluator, const Arguments& arguments) const override {
    return function_(evaluator, arguments);
  }

 private:
  Function function_;
};

class BoundMethod : public Callable {
 public:
  BoundMethod(const Value& self, Method method) : self_(self), method_(method) {}
  Result<Value> call(Evaluator& evaluator, const Arguments& arguments) const override {
    return method_(evaluator, self_, arguments);
  }

 private:
  Value self_;
  Method method_;
};

Result<Value> range(Evaluator& evaluator, const Arguments& arguments) {
  if (!arguments.named.empty()) return invalid_argument("range takes no named arguments");
  const size_t count = arguments.positional.size();
  if (count < 1 || count > 3) return invalid_argument("range takes 1 to 3 arguments, not {}", count);
  for (const Value& value : arguments.positional) {
    if (!value.is_integral()) return invalid_argument("range of a {}", type_name(value));
  }
  const Integer start = count == 1 ? 0 : arguments.positional[0].as_integer();
  const Integer stop = arguments.positional[count == 1 ? 0 : 1].as_integer();
  const Integer step = count == 3 ? arguments.positional[2].as_integer() : 1;
  if (step == 0) return invalid_argument("range with a step of 0");
  // Bounds of the arithmetic below.
  constexpr Integer kFar = Integer{1} << 100;
  for (const Integer bound : {start, stop, step}) {
    if (bound > kFar || bound < -kFar) return invalid_argument("range is out of range");
  }
  const Integer span = step > 0 ? stop - start : start - stop;
  const Integer stride = step > 0 ? step : -step;
  const Integer length = span <= 0 ? 0 : (span + stride - 1) / stride;
  if (length > kMaxRange) return resource_exhausted("range of {} is over the limit of {}", length, kMaxRange);
  FATHOM_RETURN_IF_ERROR(evaluator.arena().charge(static_cast<size_t>(length) * sizeof(Value)));
  List items;
  items.reserve(static_cast<size_t>(length));
  for (Integer i = 0; i < length; ++i) items.push_back(Value::integer(start + i * step));
  return evaluator.arena().make_list(std::move(items));
}

// Copies a dict or (key, value) pairs, then the named arguments.
Result<Dict> collect(const Arguments& arguments) {
  Dict dict;
  if (arguments.positional.size() > 1) return invalid_argument("at most one argument without a name");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (!source.is_dict()) return invalid_argument("a {} is no dict", type_name(source));
    for (const auto& [key, value] : source.as_dict().entries()) dict.set(key, value);
  }
  for (const auto& [name, value] : arguments.named) dict.set(Value::string(name), value);
  return dict;
}

Result<Value> make_dict(Evaluator& evaluator, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(Dict dict, collect(arguments));
  return evaluator.arena().make_dict(std::move(dict));
}

Result<Value> make_namespace(Evaluator& evaluator, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const Dict dict, collect(arguments));
  FATHOM_ASSIGN_OR_RETURN(const Value space, evaluator.arena().make_namespace());
  for (const auto& [key, value] : dict.entries()) {
    if (!key.is_string()) return invalid_argument("a namespace with a {} as name", type_name(key));
    if (key.as_string().starts_with('_'))
      return invalid_argument("a namespace cannot have \"{}\"", key.as_string());
    space.as_namespace().members[key.as_string()] = value;
  }
  return space;
}

Result<Value> raise_exception(Evaluator& evaluator, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"message"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const std::string message, to_text(evaluator.arena(), bound[0]));
  return invalid_argument("{}", message);
}

Result<Value> strftime_now(Evaluator& evaluator, const Arguments& arguments) {
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"format"}, 1));
  FATHOM_ASSIGN_OR_RETURN(const std::string_view format, bound.text(0, ""));
  const std::time_t now = evaluator.now();
  std::tm local{};
  if (localtime_r(&now, &local) == nullptr) return io_error("the local time is not known");
  char buffer[kMaxTimeBytes];
  // The space tells an empty result from a failure.
  const std::string padded = std::string(format) + " ";
  const size_t length = std::strftime(buffer, sizeof(buffer), padded.c_str(), &local);
  if (length == 0)
    return invalid_argument("strftime_now: the time is over the limit of {} bytes", kMaxTimeBytes);
  return evaluator.arena().make_string(replace_invalid_utf8({buffer, length - 1}));
}

constexpr Named<Function> kFunctions[] = {
    {"range", range},
    {"dict", make_dict},
    {"namespace", make_namespace},
    {"raise_exception", raise_exception},
    {"strftime_now", strftime_now},
};

}  // namespace

Function find_function(std::string_view name) { return find_named(kFunctions, name); }

Result<Value> make_function(Evaluator& evaluator, Function function) {
  return evaluator.arena().make_callable(std::make_unique<FunctionObject>(function));
}

Result<Value> make_method(Evaluator& evaluator, const Value& self, Method method) {
  return evaluator.arena().make_callable(std::make_unique<BoundMethod>(self, method));
}

FilterFunction find_filter(std::string_view name) {
  for (const auto find : {find_text_filter, find_list_filter, find_select_filter, find_number_filter}) {
    if (const FilterFunction filter = find(name)) return filter;
  }
  return nullptr;
}

Method find_method(const Value& value, std::string_view name) {
  if (value.is_string()) return find_string_method(name);
  if (value.is_dict()) return find_dict_method(name);
  if (value.is_sequence()) return find_list_method(name);
  return nullptr;
}

}  // namespace fathom::jinja
