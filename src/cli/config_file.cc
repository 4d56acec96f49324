#include "cli/config_file.h"

#include <algorithm>

#include "base/json.h"

namespace fathom {
namespace {

constexpr std::string_view kOption = "--config";

// Takes the option and its value out; empty where there is none.
Result<std::string> take_path(std::vector<std::string>& arguments) {
  for (auto it = arguments.begin(); it != arguments.end() && *it != "--"; ++it) {
    if (it->starts_with("--config=")) {
      std::string path = it->substr(kOption.size() + 1);
      arguments.erase(it);
      return path;
    }
    if (*it != kOption) continue;
    if (it + 1 == arguments.end()) return invalid_argument("--config: needs a file");
    std::string path = *(it + 1);
    arguments.erase(it, it + 2);
    return path;
  }
  return std::string();
}

// What follows "--" is no option.
std::vector<std::string>::const_iterator options_end(const std::vector<std::string>& arguments) {
  return std::find(arguments.begin(), arguments.end(), "--");
}

bool is_given(const std::vector<std::string>& arguments, const std::string& option) {
  return std::any_of(arguments.begin(), options_end(arguments), [&option](const std::string& argument) {
    return argument == option || argument.starts_with(option + "=");
  });
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : dump_json(value);
}

}  // namespace

Result<std::vector<std::string>> apply_config_file(std::vector<std::string> arguments) {
  FATHOM_ASSIGN_OR_RETURN(const std::string path, take_path(arguments));
  if (path.empty()) return arguments;
  FATHOM_ASSIGN_OR_RETURN(const Json config, read_json_file(path, {}));
  if (!config.is_object()) return invalid_data("{}: not a JSON object of options", path);
  std::vector<std::string> added;
  for (const auto& [key, value] : config.items()) {
    const std::string option = "--" + key;
    if (is_given(arguments, option)) continue;
    if (value.is_boolean()) {
      if (value.get<bool>()) added.push_back(option);
    } else if (value.is_string() || value.is_number()) {
      added.push_back(option + "=" + text_of(value));
    } else if (value.is_array() && std::none_of(value.begin(), value.end(), [](const Json& entry) {
                 return entry.is_structured() || entry.is_boolean() || entry.is_null();
               })) {
      for (const Json& entry : value) added.push_back(option + "=" + text_of(entry));
    } else {
      return invalid_data("{}: {}: neither text, number, true, false nor a list of texts and numbers", path,
                          key);
    }
  }
  arguments.insert(options_end(arguments), added.begin(), added.end());
  return arguments;
}

}  // namespace fathom
