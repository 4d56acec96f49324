// What may be asked of a row of logits that lies on a device, in place of its logits, and the answer.
#pragma once

#include <cstdint>

namespace fathom::kernels {

// Tokens first in rank that a row can be asked for.
inline constexpr int32_t kMaxHead = 1024;

struct RowQuery {
  int64_t row = 0;
  // Above 0: the sum of the weights of all tokens by it (base/draw_math.h).
  double inverse_temperature = 0;
  // Not negative, below 1: the first token at which the running sum of all weights exceeds u times their sum.
  double u = -1;
  int32_t head = 0;  // the tokens first in rank, at most so many
};

// Of a row with a logit that is NaN or +infinity, or with no finite one, only peak_id is said.
struct RowRecord {
  double total = 0;
  int32_t peak_id = -1;  // the token first in rank; -1: the row is not usable
  float peak = 0;        // its logit
  int32_t drawn_id = -1;
  // Tokens in the head: as many as were asked for, or fewer, and none where many are equal.
  int32_t num_head = 0;
  int32_t has_all = 0;  // 1: the head has every token of a finite logit
};

}  // namespace fathom::kernels
