#include "base/json.h"

#include <unordered_set>
#include <vector>

#include "base/file.h"

namespace fathom {
namespace {

// Watches the parse: stops it at the first value nested too deep, at the first key seen twice and at one key
// too many.
class ParseGuard {
 public:
  explicit ParseGuard(const JsonLimits& limits) : limits_(limits) {}

  bool operator()(int depth, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth + 1 > limits_.max_depth) throw TooDeep{};
      if (event == Event::object_start) keys_.emplace_back();
    } else if (event == Event::key) {
      if (!keys_.back().insert(value.get_ref<const std::string&>()).second) {
        throw DuplicateKey{value.get_ref<const std::string&>()};
      }
      if (keys_.back().size() > limits_.max_object_keys) throw TooManyKeys{};
    } else if (event == Event::object_end) {
      keys_.pop_back();
    }
    return true;
  }

  struct TooDeep {};
  struct TooManyKeys {};
  struct DuplicateKey {
    std::string key;
  };

 private:
  const JsonLimits& limits_;
  std::vector<std::unordered_set<std::string>> keys_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& name, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return invalid_data("{}: JSON of {} bytes is over the limit of {} bytes", name, text.size(),
                        limits.max_bytes);
  }
  try {
    ParseGuard guard(limits);
    return Json::parse(text.begin(), text.end(), [&guard](int depth, Json::parse_event_t event, Json& value) {
      return guard(depth, event, value);
    });
  } catch (const ParseGuard::TooDeep&) {
    return invalid_data("{}: JSON is nested deeper than the limit of {} levels", name, limits.max_depth);
  } catch (const ParseGuard::TooManyKeys&) {
    return invalid_data("{}: a JSON object has more than the limit of {} keys", name, limits.max_object_keys);
  } catch (const ParseGuard::DuplicateKey& duplicate) {
    return invalid_data("{}: JSON key \"{}\" occurs twice in one object", name, duplicate.key);
  } catch (const Json::exception& error) {
    return invalid_data("{}: not valid JSON: {}", name, error.what());
  }
}

Result<Json> read_json_file(const std::string& path, const JsonLimits& limits) {
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(path, limits.max_bytes));
  return parse_json(text, path, limits);
}

std::string dump_json(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace fathom
