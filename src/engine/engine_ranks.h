// What ranks settle between them while an engine loads.
#pragma once

#include "base/memory_info.h"
#include "engine/cache_size.h"
#include "engine/engine.h"
#include "model/sharding.h"

namespace fathom {

// How the options share the model; a width_unit of 1.
Sharding sharding_of(const EngineOptions& options);

// What this rank may count on, where those of its node ask at the same time; communicator may be null.
MemoryInfo share_of_memory(MemoryInfo memory, const Communicator* communicator);

// size becomes what every rank has. All call it together.
Status smallest_of_ranks(Communicator& communicator, CacheSize& size);

}  // namespace fathom
