// Token ids as people and files write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fathom {

// "1,2,3" with commas, spaces, brackets or line ends between. Whether they lie within a vocabulary is the
// engine's check.
Result<std::vector<int32_t>> parse_id_list(std::string_view text, const std::string& name);

}  // namespace fathom
