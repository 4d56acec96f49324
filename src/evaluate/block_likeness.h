// How like two texts are, as Python's difflib says.
#pragma once

#include <string_view>

namespace fathom {

// SequenceMatcher(None, a, b).ratio(): twice the characters in matching blocks over all characters, 1 for two
// empty texts. The longest common block comes first, then those on either side of it. Where b has 200
// characters or more, blocks do not begin with the frequent ones.
double block_likeness(std::string_view a, std::string_view b);

}  // namespace fathom
