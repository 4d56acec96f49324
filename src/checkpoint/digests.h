// What tells one checkpoint from another without reading all of it.
#pragma once

#include <string>

#include "checkpoint/checkpoint.h"

namespace fathom {

// Names, shapes and types of all tensors.
std::string shape_digest(const Checkpoint& checkpoint);
// Of all tensors' values a little here and there: another training of the same model shows, and no start
// waits for a disk for long.
std::string sample_digest(const Checkpoint& checkpoint);

}  // namespace fathom
