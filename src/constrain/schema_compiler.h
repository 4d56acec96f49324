// JSON schema to a grammar of the JSON texts that are valid by it.
//
// * type (also a list), enum, const, properties, required, additionalProperties, minProperties and
//   maxProperties without properties, items, prefixItems, minItems, maxItems, minLength, maxLength, pattern,
//   format, minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf (read as anyOf: that no second
//   branch holds is not looked at), allOf (merged), $ref within the document (also recursive), true, false.
// * Titles, descriptions, defaults and the like say nothing. Any other keyword, known or not, is refused by
//   its JSON pointer, as is what a keyword here cannot do.
// The grammar may be narrower than the schema, never wider:
// * Properties come in the schema's order, then those that `required` adds, then additional ones. Where there
//   are properties, or prefixItems, additional ones come only if additionalProperties, or items, says so.
// * Without a type, the keywords' own types are meant: {"properties": ...} is an object.
// * A property that is not in the schema may come twice.
// * Numbers, space and escapes are as in constrain/json_grammar.h; strings with a pattern or format spell
// each
//   character in the shortest way, and values of enum and const have no space in them.
#pragma once

#include <string_view>

#include "base/status.h"
#include "constrain/grammar.h"

namespace fathom {

inline constexpr size_t kMaxSchemaProperties = 1024;  // of one object
inline constexpr size_t kMaxSchemaPrefixItems = 128;
// Code points of a property's name where additional properties have to differ from it.
inline constexpr size_t kMaxExcludedName = 128;
// Values in schemas merged by allOf, anyOf and $ref beside other keywords, each time one is merged.
inline constexpr size_t kMaxMergedValues = 100'000;

// kInvalidArgument: not JSON, or not a schema; kUnsupported: valid, not offered. Messages begin with the
// pointer.
Result<Grammar> compile_schema(std::string_view text);

}  // namespace fathom
