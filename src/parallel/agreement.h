// The check before work starts that all ranks are about to do the same: the same build, options and weights.
#pragma once

#include <span>
#include <string>

#include "base/status.h"
#include "parallel/communicator.h"

namespace fathom {

struct NamedValue {
  std::string name;   // "build", "config", "weights": what a message calls it
  std::string value;  // the thing itself or a digest of it
};

// All ranks call it together. An error on every rank where one differs from rank 0 in a value, or in what
// it names: the first difference of the lowest such rank, with both values. Names and values are 64 KiB at
// most, all together.
Status check_agreement(Communicator& communicator, std::span<const NamedValue> values);

}  // namespace fathom
