// A text line by line: JSON lines, journals, lists.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "base/function_ref.h"
#include "base/status.h"

namespace fathom {

// Calls visit(number, line) for every line that is not blank, without its line end; numbers count all lines
// from
// 1. The last line needs no end. The first error ends the walk and is returned.
inline Status for_each_line(std::string_view text,
                            FunctionRef<Status(size_t number, std::string_view line)> visit) {
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    FATHOM_RETURN_IF_ERROR(visit(number, line));
  }
  return ok_status();
}

}  // namespace fathom
