#include "server/log_text.h"

#include <algorithm>

#include "base/log.h"

namespace fathom {

std::string for_log(std::string_view text) {
  constexpr size_t kMaxLogged = 200;
  std::string out;
  for (unsigned char c : text.substr(0, kMaxLogged)) {
    if (c < 0x21 || c > 0x7e) {
      out += fmt::format("\\x{:02x}", c);
    } else {
      out.push_back(static_cast<char>(c));
    }
  }
  return out;
}

void log_unknown_fields(const std::string& request_id, const std::vector<std::string>& names) {
  if (names.empty()) return;
  constexpr size_t kMaxNames = 10;
  std::string list;
  for (size_t i = 0; i < std::min(kMaxNames, names.size()); ++i) list += " " + for_log(names[i]);
  log_info("{}: {} fields without a meaning here:{}", request_id, names.size(), list);
}

}  // namespace fathom
