// Commands that compute with a model, on one process or on the ranks that `fathom launch` started.
#pragma once

#include <functional>

#include "cli/engine_options.h"

namespace fathom {

// Joins the ranks that this process is one of and calls work, with them in the options, on each. Every rank
// returns when all are done. A failure of one is a failure of all, which rank 0 returns; the other processes
// end here then.
Status with_ranks(const EngineFlags& flags, const std::function<Status(EngineOptions options)>& work);

// The same where all there is to do needs one engine: calls lead on rank 0, while the others compute with it.
Status with_engine(const EngineFlags& flags, const std::function<Status(Engine& engine)>& lead);

}  // namespace fathom
