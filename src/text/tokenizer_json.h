// JSON of tokenizer files. A vocabulary is one object of 100,000 keys: base/json.h keeps keys in their order
// in a list, where each insertion looks at all keys before; this type keeps them sorted. Limits and the
// refusal of duplicate keys are the same.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom {

using TokenizerJson = nlohmann::json;

// Parses one document of at most 256 MiB and 128 levels; messages name it `name`.
Result<TokenizerJson> parse_tokenizer_json(std::string_view text, const std::string& name);
// Reads and parses a file; messages name its path.
Result<TokenizerJson> read_tokenizer_json(const std::string& path);

// Fields of an object, with errors of the form "where.key: ...". `where` may be empty. A pointer lives as
// long as the object.
Result<const TokenizerJson*> object_field(const TokenizerJson& object, const char* key,
                                          const std::string& where);
Result<const TokenizerJson*> array_field(const TokenizerJson& object, const char* key,
                                         const std::string& where);
Result<std::string> string_field(const TokenizerJson& object, const char* key, const std::string& where);
// An absent field has the value `absent`.
Result<bool> bool_field(const TokenizerJson& object, const char* key, bool absent, const std::string& where);

// Absent or null.
bool is_null_field(const TokenizerJson& object, const char* key);

}  // namespace fathom
