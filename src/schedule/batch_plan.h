// What a step computes, as the scheduler decides it and the engine carries it out.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/sequence.h"

namespace fathom {

// Positions [begin, end) of one sequence, end > begin, on one side of its prompt_len.
struct Segment {
  SequenceId sequence_id = 0;
  int64_t begin = 0;
  int64_t end = 0;
  // The logits of so many last rows give the next tokens: none where known tokens are left to compute, one
  // where end is their number, and one more for each of the sequence's drafts, whose positions follow those
  // of the known tokens and are the segment's last.
  int64_t num_logits = 0;
};

// The latents of a page's first num_tokens tokens, in every layer, to another page of the same pool.
struct PageCopy {
  PageId from = 0;
  PageId to = 0;
  int64_t num_tokens = 0;
  int64_t home = 0;  // the pool
};

// One step. Segments of one generated token, with or without drafts, come first, then the others; each group
// in order of admission.
struct BatchPlan {
  std::vector<PageCopy> copies;  // to be made before anything is computed, all of them, in any order
  std::vector<Segment> segments;
  int64_t num_tokens = 0;  // of all segments
  int64_t num_logits = 0;  // of all segments
};

}  // namespace fathom
