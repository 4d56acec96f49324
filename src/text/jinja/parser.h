// Templates to programs.
#pragma once

#include <memory>
#include <string_view>

#include "base/status.h"
#include "text/jinja/ast.h"

namespace fathom::jinja {

// source: well-formed UTF-8. Errors name the line. Nesting is limited, so that no source exhausts the stack.
Result<std::unique_ptr<Program>> parse(std::string_view source);

}  // namespace fathom::jinja
