// JSON at the door: nlohmann's type, with limits on size, depth and keys, duplicate keys refused, and every
// failure a Status. Files of a model folder and requests of clients are both untrusted.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom {

using Json = nlohmann::ordered_json;

struct JsonLimits {
  size_t max_bytes = size_t{1} << 20;
  int max_depth = 128;
  // Objects keep their order and find keys by a linear search: without a cap one large object costs quadratic
  // time.
  size_t max_object_keys = 8192;
};

// Parses one JSON document (UTF-8). name is what messages call it, usually the file's path.
Result<Json> parse_json(std::string_view text, const std::string& name, const JsonLimits& limits);

// Reads and parses a file; messages name its path.
Result<Json> read_json_file(const std::string& path, const JsonLimits& limits);

// Serialises; invalid UTF-8 inside strings is replaced by U+FFFD, so this never fails. indent < 0: one line.
std::string dump_json(const Json& value, int indent = -1);

}  // namespace fathom
