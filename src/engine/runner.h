// Where the integer world meets the tensor world: lays out segments of sequences as one flat batch, runs the
// model and brings the wanted logits back. Decides nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "model/deepseek_v2.h"
#include "model/latent_cache.h"
#include "schedule/sequence.h"

namespace fathom {

// Positions [begin, end) of one sequence, which lie on one side of prompt_len.
struct SegmentInput {
  std::span<const int32_t> tokens;  // the sequence's tokens, at least end
  std::span<const int32_t> pages;   // its page table, enough for end tokens
  int64_t begin = 0;
  int64_t end = 0;
  int64_t prompt_len = 0;
  int64_t num_logits = 0;  // rows whose logits are wanted: the last ones
};

class Runner {
 public:
  // All three are borrowed.
  Runner(Backend& backend, DeepseekV2& model, const LatentCache& cache);

  // Prompts from this length on are expanded. The scheduler, which shares latents by their form, must be told
  // the same.
  void set_expanded_prompt_tokens(int64_t num_tokens) { expanded_prompt_tokens_ = num_tokens; }

  // Computes the segments, at most one of each sequence. Returns the wanted logits in segment order, [rows,
  // vocab_size] on the host, valid until the next call.
  Result<std::span<const float>> run(std::span<const SegmentInput> segments);

  // Logits of further rows of the batch of the last run(), so many at a time as the model gives: row 0 is the
  // first segment's first position. sink(first, logits): of rows[first] and those after it. Ends the validity
  // of what run() returned.
  using RowSink = FunctionRef<void(size_t first, std::span<const float> logits)>;
  Status more_logits(std::span<const int32_t> rows, RowSink sink);

 private:
  void lay_out(std::span<const SegmentInput> segments);
  Batch batch(std::span<const int32_t> logits_rows) const;
  Result<std::span<const float>> download(const float* logits, size_t num_rows);

  Backend& backend_;
  DeepseekV2& model_;
  const LatentCache& cache_;
  int64_t expanded_prompt_tokens_ = kExpandedPromptTokens;
  std::vector<int32_t> token_ids_;
  std::vector<int32_t> positions_;
  std::vector<int64_t> slots_;
  std::vector<int32_t> starts_;
  std::vector<AttentionForm> forms_;
  std::vector<int32_t> page_tables_;
  std::vector<int32_t> page_table_starts_;
  std::vector<int32_t> logits_rows_;
  std::vector<float> logits_;
};

}  // namespace fathom
