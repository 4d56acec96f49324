// A table of functions that templates use by name.
#pragma once

#include <cstddef>
#include <string_view>

namespace fathom::jinja {

template <typename Function>
struct Named {
  std::string_view name;
  Function function;
};

// nullptr: there is none of this name.
template <typename Function, size_t N>
Function find_named(const Named<Function> (&entries)[N], std::string_view name) {
  for (const Named<Function>& entry : entries) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace fathom::jinja
