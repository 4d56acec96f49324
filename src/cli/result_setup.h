// What decides the bits of a model's results beside the request (docs/numerics.md, D1 and D2): for runs that
// are gone on with later, and for clients that compare answers.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"
#include "engine/engine.h"

namespace fathom {

// An object, of what the engine was loaded with. Where the folder lies and how many ranks share the same
// slices are not in it: they change no bit. Fails where the folder cannot be read.
Result<Json> result_setup(const Engine& engine);

// The same in a word: the program, the number of ranks, and a sum of all. setup: of this engine.
std::string fingerprint_of(const Engine& engine, const Json& setup);

}  // namespace fathom
