// A second, smaller model that guesses tokens ahead: its weights, its latent cache, in pages of the same
// numbers as the model's, and what it has computed there. Which sequences it drafts for, and how much, is
// engine/model_drafter.h's business.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "device/backend.h"
#include "engine/draft_checkpoint.h"
#include "engine/draft_rows.h"
#include "engine/row_reader.h"
#include "engine/runner.h"
#include "model/deepseek_v2.h"
#include "model/latent_cache.h"

namespace fathom {

struct DraftModelOptions {
  std::optional<DType> dtype;           // activations; default: the checkpoint's
  std::optional<DType> kv_cache_dtype;  // default: the activation dtype
  int64_t block_size = 128;
  int64_t num_pages = 0;
  int64_t max_tokens = 512;      // of one pass
  int64_t max_logits_rows = 64;  // of one pass
  int64_t max_positions = 4096;  // of a sequence; less where the draft model's own limit is lower
  size_t num_drawable = 0;       // ids below this are guessed
};

class DraftModel {
 public:
  // The backend may have other models and outlives this one. progress may be null.
  static Result<std::unique_ptr<DraftModel>> load(Backend& backend, const DraftCheckpoint& source,
                                                  const DraftModelOptions& options, ProgressSink* progress);

  int64_t max_positions() const { return model_->options().max_positions; }
  int64_t max_tokens() const { return model_->options().max_tokens; }
  DraftRows& rows() { return rows_; }

  // Computes the segments, at most one of each sequence, and returns the wanted rows of logits, read for
  // these draws, as RowReader::read() does. Their prompt_len does not matter: the form of attention follows
  // from their length.
  Result<std::span<const DrawnRow>> run(std::vector<SegmentInput>& segments, std::span<const RowDraw> draws);
  // As the model's own cache has copied, before anything is written to either page.
  Status copy_page(const PageCopy& copy);

 private:
  DraftModel(Backend& backend, std::unique_ptr<DeepseekV2> model, LatentCache cache,
             const DraftModelOptions& options);

  Backend& backend_;
  std::unique_ptr<DeepseekV2> model_;
  LatentCache cache_;
  Runner runner_;
  RowReader row_reader_;
  DraftRows rows_;
};

}  // namespace fathom
