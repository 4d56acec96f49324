#include "tensor/view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace fathom {

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape.dimensions(), ", ")); }

}  // namespace fathom
