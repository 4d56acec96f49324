#include "engine/draft_model.h"

#include <algorithm>

namespace fathom {

DraftModel::DraftModel(Backend& backend, std::unique_ptr<DeepseekV2> model, LatentCache cache,
                       const DraftModelOptions& options)
    : backend_(backend),
      model_(std::move(model)),
      cache_(std::move(cache)),
      runner_(backend_, *model_, cache_, nullptr),
      row_reader_(backend_, model_->config().vocab_size, options.num_drawable),
      rows_(options.num_pages, options.block_size) {}

Result<std::unique_ptr<DraftModel>> DraftModel::load(Backend& backend, const DraftCheckpoint& source,
                                                     const DraftModelOptions& options,
                                                     ProgressSink* progress) {
  const DType dtype = options.dtype.value_or(source.config.torch_dtype);
  FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<DeepseekV2> model,
                          DeepseekV2::load(backend, *source.checkpoint, source.quantization, source.config,
                                           {.activation_dtype = dtype,
                                            .max_tokens = options.max_tokens,
                                            .max_logits_rows = options.max_logits_rows,
                                            .max_positions = std::min(options.max_positions,
                                                                      source.config.max_position_embeddings)},
                                           progress));
  FATHOM_ASSIGN_OR_RETURN(
      LatentCache cache,
      LatentCache::create(backend, source.config,
                          {.num_pages = options.num_pages,
                           .block_size = options.block_size,
                           .dtype = options.kv_cache_dtype.value_or(dtype),
                           .rope_dtype = dtype == DType::kFloat16 ? DType::kFloat16 : DType::kBFloat16}));
  return std::unique_ptr<DraftModel>(new DraftModel(backend, std::move(model), std::move(cache), options));
}

Result<std::span<const DrawnRow>> DraftModel::run(std::vector<SegmentInput>& segments,
                                                  std::span<const RowDraw> draws) {
  for (SegmentInput& segment : segments) {
    const int64_t num_tokens = segment.end - segment.begin;
    segment.prompt_len = num_tokens >= kExpandedPromptTokens ? segment.end : 0;
  }
  FATHOM_ASSIGN_OR_RETURN(const float* logits, runner_.run(segments));
  return row_reader_.read(logits, draws);
}

Status DraftModel::copy_page(const PageCopy& copy) {
  const int64_t num_known = rows_.copy(copy);
  return num_known == 0 ? ok_status() : cache_.copy_page(backend_, copy.from, copy.to, num_known);
}

}  // namespace fathom
