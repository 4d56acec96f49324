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
// Both, or of a rank's part of a sharded folder the digest of that folder.
std::string weights_digest(const Checkpoint& checkpoint);
// Of the files beside the weights that say what they mean and how texts become tokens and back: the config,
// what is quantised how, tokenizer, template, sampling.
Result<std::string> settings_digest(const std::string& directory);

}  // namespace fathom
