// What comes from clients, made fit for the log.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom {

// Names and paths: no control character may reach the log.
std::string for_log(std::string_view text);

// One line, where there are any.
void log_unknown_fields(const std::string& request_id, const std::vector<std::string>& names);

}  // namespace fathom
