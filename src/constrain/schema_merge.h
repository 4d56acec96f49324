// What two schemas say together, as one schema.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"

namespace fathom {

// Whether a keyword says nothing about what is valid.
bool is_annotation(const std::string& keyword);

// Both are objects or booleans, without $ref and allOf at their top. kUnsupported where their keywords have
// no union, naming the pointer.
Result<Json> merge_schemas(const Json& a, const Json& b, const std::string& pointer);

}  // namespace fathom
