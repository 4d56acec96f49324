#include "cli/config_file.h"

#include <algorithm>

#include "base/json.h"

namespace fathom {
namespace {

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

Result<std::string> take_option(std::vector<std::string>& arguments, const std::string& name) {
  for (auto it = arguments.begin(); it != arguments.end() && *it != "--"; ++it) {
    if (it->starts_with(name + "=")) {
      std::string value = it->substr(name.size() + 1);
      arguments.erase(it);
      return value;
    }
    if (*it != name) continue;
    if (it + 1 == arguments.end()) return invalid_argument("{}: needs a file", name);
    std::string value = *(it + 1);
    arguments.erase(it, it + 2);
    return value;
  }
  return std::string();
}

void add_unless_given(std::vector<std::string>& arguments, const std::vector<std::string>& options) {
  std::vector<std::string> added;
  for (const std::string& option : options) {
    if (!is_given(arguments, option.substr(0, option.find('=')))) added.push_back(option);
  }
  arguments.insert(options_end(arguments), added.begin(), added.end());
}

Result<std::vector<std::string>> apply_config_file(std::vector<std::string> arguments) {
  FATHOM_ASSIGN_OR_RETURN(const std::string path, take_option(arguments, "--config"));
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
  add_unless_given(arguments, added);
  return arguments;
}

}  // namespace fathom
