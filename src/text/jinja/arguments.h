// The arguments of builtins, bound to their parameters and read with their types.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

// Values in the order of the parameters.
class BoundArguments {
 public:
  // Every argument must have a parameter, and the first `required` parameters an argument.
  static Result<BoundArguments> bind(const Arguments& arguments,
                                     std::initializer_list<std::string_view> parameters, size_t required = 0);

  bool has(size_t index) const { return given_[index]; }
  // Undefined if not given.
  const Value& operator[](size_t index) const { return values_[index]; }

  // With a default for what is not given; the wrong type is an error that names the parameter.
  Result<bool> boolean(size_t index, bool absent) const;
  Result<Integer> integer(size_t index, Integer absent) const;
  Result<std::string_view> text(size_t index, std::string_view absent) const;

 private:
  std::vector<std::string_view> names_;
  std::vector<Value> values_;
  std::vector<bool> given_;
};

}  // namespace fathom::jinja
