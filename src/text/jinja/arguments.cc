#include "text/jinja/arguments.h"

#include <algorithm>

namespace fathom::jinja {

Result<BoundArguments> BoundArguments::bind(const Arguments& arguments,
                                            std::initializer_list<std::string_view> parameters,
                                            size_t required) {
  BoundArguments bound;
  bound.names_ = parameters;
  bound.values_.resize(parameters.size());
  bound.given_.resize(parameters.size());
  if (arguments.positional.size() > parameters.size()) {
    return invalid_argument("{} arguments where at most {} are allowed", arguments.positional.size(),
                            parameters.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    bound.values_[i] = arguments.positional[i];
    bound.given_[i] = true;
  }
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(bound.names_.begin(), bound.names_.end(), name);
    if (found == bound.names_.end()) return invalid_argument("no parameter is called \"{}\"", name);
    const auto index = static_cast<size_t>(found - bound.names_.begin());
    if (bound.given_[index]) return invalid_argument("two values for the parameter \"{}\"", name);
    bound.values_[index] = value;
    bound.given_[index] = true;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!bound.given_[i]) return invalid_argument("the argument \"{}\" is missing", bound.names_[i]);
  }
  return bound;
}

Result<bool> BoundArguments::boolean(size_t index, bool absent) const {
  return given_[index] ? is_true(values_[index]) : absent;
}

Result<Integer> BoundArguments::integer(size_t index, Integer absent) const {
  if (!given_[index]) return absent;
  if (values_[index].is_integral()) return values_[index].as_integer();
  return invalid_argument("\"{}\" is a {}, not an int", names_[index], type_name(values_[index]));
}

Result<std::string_view> BoundArguments::text(size_t index, std::string_view absent) const {
  if (!given_[index]) return absent;
  if (values_[index].is_string()) return values_[index].as_string();
  return invalid_argument("\"{}\" is a {}, not a str", names_[index], type_name(values_[index]));
}

}  // namespace fathom::jinja
