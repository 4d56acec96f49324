// What rank 0 tells the other ranks to compute: one step, as flat as the device takes it. Every rank knows
// its part of the weights and which sequences it caches, so that nothing comes back.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "device/batch.h"
#include "parallel/communicator.h"
#include "schedule/batch_plan.h"

namespace fathom {

struct StepOrder {
  // kMoreLogits: of other rows of the batch that was run last. kEnd: there will be no more orders.
  enum class Kind : int64_t { kRun, kMoreLogits, kEnd };
  Kind kind = Kind::kRun;
  std::vector<PageCopy> copies;  // made before the batch is computed
  // As in Batch.
  std::vector<int32_t> token_ids;
  std::vector<int32_t> positions;
  std::vector<int64_t> slots;
  std::vector<int32_t> starts;
  std::vector<AttentionForm> forms;
  std::vector<int32_t> page_tables;
  std::vector<int32_t> page_table_starts;
  std::vector<int32_t> logits_rows;
  std::vector<int32_t> home_starts;

  // Valid as long as the order is not changed.
  Batch batch() const;
};

// From rank 0 to all others, which call receive_order() at the same time. Failure: a lost rank.
Status send_order(Communicator& communicator, const StepOrder& order);
Status receive_order(Communicator& communicator, StepOrder& order);

}  // namespace fathom
