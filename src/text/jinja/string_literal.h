// The escapes of string literals in templates, which are Python's.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom::jinja {

// What lies between the quotes, with \n, \x41, \u00e9, \U0001f600, \101 and the like resolved; a backslash
// before any other character stays. Fails on cut-off escapes, surrogates and \N.
Result<std::string> resolve_escapes(std::string_view literal);

}  // namespace fathom::jinja
