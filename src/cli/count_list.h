// Lists of counts and of pairs of counts as options take them: "1,4,16", "2048x2048,4kx32".
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace fathom {

// Each in [1, 2^24], at most 256 of them; sizes as parse_size() takes them. Empty text is an empty list. The
// error names the option and the part at fault.
Result<std::vector<int64_t>> parse_count_list(std::string_view text, std::string_view option);
Result<std::vector<std::pair<int64_t, int64_t>>> parse_pair_list(std::string_view text,
                                                                 std::string_view option);

}  // namespace fathom
