// From rows of logits on the device to what tokens are drawn from on the host. Where the host reads the
// device's memory in place, that is the rows. Elsewhere the device is asked for what the draws need to know
// (kernels/row_query.h), and only rows for which that is not enough are brought over: the tokens are the
// same.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "device/backend.h"
#include "sample/sampler.h"

namespace fathom {

// How a row's token will be drawn.
struct RowDraw {
  const SamplingParams* params = nullptr;
  double u = 0;               // sampler_number
  bool needs_logits = false;  // there is a mask, or some tokens are banned
};

struct DrawnRow {
  std::span<const float> logits = {};  // of the ids that can be drawn; empty: the token is drawn already
  int32_t token_id = 0;
};

class RowReader {
 public:
  // backend is borrowed. Ids below num_drawable are drawn.
  RowReader(Backend& backend, int64_t vocab_size, size_t num_drawable)
      : backend_(backend), vocab_size_(vocab_size), num_drawable_(num_drawable) {}

  // Of logits [draws, vocab_size] on the device, when they are there. Valid until the backend's next
  // operation.
  Result<std::span<const DrawnRow>> read(const float* logits, std::span<const RowDraw> draws);

 private:
  // What is known of a row that has a query.
  struct Known {
    size_t row = 0;
    std::optional<int32_t> token_id;
  };

  void ask(std::span<const RowDraw> draws);
  void settle(std::span<const RowDraw> draws, const Examined& examined);
  void take_rows(const float* rows);
  Result<std::span<const DrawnRow>> read_all(const float* logits);

  Backend& backend_;
  int64_t vocab_size_;
  size_t num_drawable_;
  // Reused from call to call.
  std::vector<kernels::RowQuery> queries_;
  std::vector<Known> known_;                  // per query
  std::vector<int64_t> rows_;                 // to be brought over
  std::vector<DrawnRow> drawn_;               // per draw
  std::vector<SamplerWorkspace> workspaces_;  // by host thread
  std::vector<std::byte> room_;
};

}  // namespace fathom
