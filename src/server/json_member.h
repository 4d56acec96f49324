// Members of JSON that may be anything.
#pragma once

#include "base/json.h"

namespace fathom {

// Null where object is none or has no such member.
inline Json json_member(const Json& object, const char* key) {
  return object.is_object() ? object.value(key, Json()) : Json();
}

}  // namespace fathom
