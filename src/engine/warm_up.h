// The largest steps there can be, computed once before the first request, on devices where memory that grows
// and kernels that are loaded on the way would cost the first requests dearly.
#pragma once

#include "engine/row_reader.h"
#include "engine/runner.h"

namespace fathom {

struct WarmUpShape {
  int64_t num_tokens = 0;  // of a step
  int64_t num_logits_rows = 0;
  int64_t num_pages = 0;  // of a sequence of max_model_len
  int64_t max_model_len = 0;
  int64_t expanded_prompt_tokens = 0;
};

// What it writes into the cache's first pages is nobody's: to be called before anything else uses them.
Status warm_up(Runner& runner, RowReader& row_reader, const WarmUpShape& shape);

}  // namespace fathom
