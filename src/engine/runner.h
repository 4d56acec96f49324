// Where the integer world meets the tensor world: lays out segments of sequences as one flat batch, runs the
// model and says where the wanted logits are. Decides nothing. Of several ranks the runner of rank 0 leads:
// what it is asked for it has the others do too (engine/step_order.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "engine/step_order.h"
#include "model/deepseek_v2.h"
#include "model/latent_cache.h"
#include "schedule/sequence.h"

namespace fathom {

// Positions [begin, end) of one sequence, which lie on one side of prompt_len.
struct SegmentInput {
  std::span<const int32_t> tokens;  // the sequence's tokens, with its drafts at least end
  std::span<const int32_t> pages;   // its page table, enough for end tokens
  int64_t begin = 0;
  int64_t end = 0;
  int64_t prompt_len = 0;
  std::span<const int32_t> drafts = {};  // behind the tokens
  int64_t num_logits = 0;                // rows whose logits are wanted: the last ones
  int64_t home = 0;  // of the model's homes (model/sharding.h), the one whose pages these are
};

class Runner {
 public:
  // All are borrowed. communicator: that of the model's options, null of one rank.
  Runner(Backend& backend, DeepseekV2& model, LatentCache& cache, Communicator* communicator);
  // Of rank 0: lets the others' follow() end, unless something failed.
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Prompts from this length on are expanded. The scheduler, which shares latents by their form, must be told
  // the same.
  void set_expanded_prompt_tokens(int64_t num_tokens) { expanded_prompt_tokens_ = num_tokens; }

  // Copies rows of a page, in every layer, before the next run().
  void copy_page(const PageCopy& copy) { order_.copies.push_back(copy); }

  // Computes the segments, at most one of each sequence. Returns the wanted logits in segment order, [rows,
  // vocab_size] on the device, valid until the next call; the device may still be at it.
  Result<const float*> run(std::span<const SegmentInput> segments);
  // So many rows of them on the host, valid until the next call of the backend.
  Result<std::span<const float>> read_back(const float* logits, size_t num_rows);

  // Logits of further rows of the batch of the last run(), so many at a time as the model gives: row 0 is the
  // first segment's first position. sink(first, logits): of rows[first] and those after it, on the host. Ends
  // the validity of what run() returned.
  using RowSink = FunctionRef<void(size_t first, std::span<const float> logits)>;
  Status more_logits(std::span<const int32_t> rows, RowSink sink);

  // So far, in the model.
  double model_seconds() const { return model_seconds_; }

  // Of the other ranks: does what rank 0 asks for, until it needs no more.
  Status follow();

 private:
  void lay_out(std::span<const SegmentInput> segments);
  void lay_out(const SegmentInput& segment);
  // The order's logits on the device; of rank 0 with all others.
  Result<const float*> lead();
  Result<const float*> carry_out();

  Backend& backend_;
  DeepseekV2& model_;
  LatentCache& cache_;
  Communicator* communicator_;
  bool failed_ = false;
  double model_seconds_ = 0;
  int64_t expanded_prompt_tokens_ = kExpandedPromptTokens;
  StepOrder order_;  // its arrays are reused from step to step
  // Of the last run(), whose batch has the segments of one home after those of another.
  std::vector<int32_t> segment_rows_;  // the first row of each segment in the batch
  std::vector<int32_t> batch_rows_;    // the batch's row of each row, counted in segment order
  std::vector<std::byte> room_;
};

}  // namespace fathom
