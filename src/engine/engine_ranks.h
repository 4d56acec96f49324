// What ranks settle between them while an engine loads.
#pragma once

#include "base/memory_info.h"
#include "device/device_communicator.h"
#include "engine/cache_size.h"
#include "engine/engine.h"
#include "model/sharding.h"

namespace fathom {

// How the options share the model; a width_unit of 1.
Sharding sharding_of(const EngineOptions& options);

// What this rank may count on, where those that share the memory ask at the same time; ranks may be null.
MemoryInfo share_of_memory(MemoryInfo memory, const DeviceCommunicator* ranks);

// size becomes what every rank has. All call it together.
Status smallest_of_ranks(Communicator& communicator, CacheSize& size);

}  // namespace fathom
