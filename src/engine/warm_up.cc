#include "engine/warm_up.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace fathom {
namespace {

// num_tokens tokens of prompts of at most prompt_len each, all in the same pages: nothing reads them later.
Status run_prompts(Runner& runner, RowReader& row_reader, const WarmUpShape& shape, int64_t prompt_len) {
  const std::vector<int32_t> tokens(static_cast<size_t>(prompt_len));
  std::vector<int32_t> pages(static_cast<size_t>(shape.num_pages));
  std::iota(pages.begin(), pages.end(), 0);
  std::vector<SegmentInput> segments;
  int64_t num_logits = shape.num_logits_rows;
  for (int64_t left = shape.num_tokens; left > 0; left -= segments.back().end) {
    const int64_t end = std::min(left, prompt_len);
    const int64_t own_logits = std::min(end, num_logits);
    num_logits -= own_logits;
    segments.push_back(
        {.tokens = tokens, .pages = pages, .end = end, .prompt_len = end, .num_logits = own_logits});
  }
  FATHOM_ASSIGN_OR_RETURN(const float* logits, runner.run(segments));
  SamplingParams sampling;
  sampling.top_p = 0.9;
  const auto num_rows = static_cast<size_t>(shape.num_logits_rows - num_logits);
  return row_reader.read(logits, std::vector<RowDraw>(num_rows, {.params = &sampling})).status();
}

}  // namespace

Status warm_up(Runner& runner, RowReader& row_reader, const WarmUpShape& shape) {
  const int64_t longest = std::min(shape.num_tokens, shape.max_model_len);
  const int64_t absorbed = std::min(longest, shape.expanded_prompt_tokens - 1);
  if (absorbed > 0) FATHOM_RETURN_IF_ERROR(run_prompts(runner, row_reader, shape, absorbed));
  if (longest < shape.expanded_prompt_tokens) return ok_status();
  return run_prompts(runner, row_reader, shape, longest);
}

}  // namespace fathom
