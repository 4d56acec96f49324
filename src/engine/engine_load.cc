// Opening a model folder: everything is checked and planned before the first weight is touched.
#include <algorithm>

#include "base/checked_math.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/cache_size.h"
#include "engine/engine_impl.h"
#include "engine/engine_ranks.h"
#include "engine/lookup_drafter.h"
#include "engine/model_drafter.h"
#include "engine/warm_up.h"
#include "model/rank_weights.h"
#include "model/stored_weight.h"

namespace fathom {
namespace {

Result<std::unique_ptr<Backend>> make_backend(const EngineOptions& options) {
  if (options.device == DeviceKind::kCpu)
    return make_cpu_backend({.num_threads = options.num_threads, .isa = options.isa});
  const int local_rank = options.communicator != nullptr ? options.communicator->layout().local_rank() : 0;
  return make_cuda_backend({.local_rank = local_rank, .num_host_threads = options.num_threads});
}

Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& model_dir) {
  if (!file_exists(join_path(model_dir, "tokenizer.json"))) return std::unique_ptr<Tokenizer>();
  return Tokenizer::load(model_dir);
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::load(const EngineOptions& options, ProgressSink* progress) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  if (options.communicator != nullptr && options.communicator->size() > 1)
    impl->communicator = options.communicator;
  const Status status = impl->open(progress);
  if (!status.ok()) {
    if (impl->communicator != nullptr) impl->communicator->fail(status.message());
    return status;
  }
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Status Engine::Impl::open(ProgressSink* progress) {
  const double started = monotonic_seconds();
  FATHOM_ASSIGN_OR_RETURN(config, load_model_config(options.model_dir));
  sharding = sharding_of(options);
  FATHOM_RETURN_IF_ERROR(check_sharding(config, sharding));
  FATHOM_ASSIGN_OR_RETURN(generation_config, load_generation_config(options.model_dir, config));
  FATHOM_ASSIGN_OR_RETURN(tokenizer, load_tokenizer(options.model_dir));
  FATHOM_ASSIGN_OR_RETURN(checkpoint, open_checkpoint(options.model_dir, sharding));
  FATHOM_ASSIGN_OR_RETURN(const QuantDescription quantization,
                          QuantDescription::load(options.model_dir, config));
  FATHOM_RETURN_IF_ERROR(check_weights(*checkpoint, config, quantization));
  if (const auto unused = unused_tensors(*checkpoint, config); !unused.empty()) {
    log_warning("{}: {} tensors are not part of this model and stay unused, {} for one", options.model_dir,
                unused.size(), unused.front());
  }
  sharding.width_unit = width_unit_of(*checkpoint, config);
  FATHOM_RETURN_IF_ERROR(check_sliced_groups(*checkpoint, config, sharding));
  if (communicator != nullptr) FATHOM_RETURN_IF_ERROR(agree());
  for (int64_t id : generation_config.eos_token_ids) end_ids.push_back(static_cast<int32_t>(id));

  std::optional<DraftCheckpoint> draft;
  if (options.speculation == Speculation::kDraftModel) {
    if (communicator != nullptr)
      return unsupported("--draft-model: not over {} ranks; leave it out, or use one", communicator->size());
    FATHOM_ASSIGN_OR_RETURN(
        draft, open_draft_checkpoint(options.draft_model_dir, {options.model_dir, config, tokenizer.get()}));
  }

  const DType activation_dtype = options.dtype.value_or(config.torch_dtype);
  LatentCacheOptions cache_options{
      .block_size = options.block_size,
      .dtype = options.kv_cache_dtype.value_or(activation_dtype),
      .rope_dtype = activation_dtype == DType::kFloat16 ? DType::kFloat16 : DType::kBFloat16};
  const int64_t max_num_seqs = std::min(options.max_num_seqs, options.max_num_batched_tokens);
  FATHOM_ASSIGN_OR_RETURN(backend, make_backend(options));
  if (communicator != nullptr) {
    FATHOM_ASSIGN_OR_RETURN(device_ranks, backend->connect(*communicator));
  }
  FATHOM_ASSIGN_OR_RETURN(CacheSize size,
                          choose_cache_size(options,
                                            {.config = config,
                                             .sharding = sharding,
                                             .kv_cache_dtype = cache_options.dtype,
                                             .checkpoint = *checkpoint,
                                             .draft = draft ? &*draft : nullptr},
                                            share_of_memory(backend->memory(), device_ranks)));
  if (communicator != nullptr) FATHOM_RETURN_IF_ERROR(smallest_of_ranks(*communicator, size));
  cache_options.num_pages = size.num_pages;
  max_model_len = size.max_model_len;
  if (max_model_len < config.max_position_embeddings && !options.max_model_len) {
    log_warning("sequences are limited to {} of the model's {} tokens by the memory for the cache",
                max_model_len, config.max_position_embeddings);
  }

  const int64_t expanded_prompt_tokens = options.expanded_prompt_tokens.value_or(kExpandedPromptTokens);
  const int64_t max_drafts =
      options.speculation == Speculation::kOff ? 0 : Drafter::max_step_drafts(max_num_seqs);
  const SchedulerConfig scheduler_config{
      .max_num_seqs = max_num_seqs,
      .max_num_batched_tokens = options.max_num_batched_tokens,
      .max_prefill_tokens = options.max_prefill_tokens,
      .max_prefill_seqs = options.max_prefill_seqs,
      .max_model_len = max_model_len,
      .max_wait_steps = options.max_wait_steps.value_or(SchedulerConfig().max_wait_steps),
      .expanded_prompt_tokens = expanded_prompt_tokens};
  FATHOM_RETURN_IF_ERROR(scheduler_config.validate());

  FATHOM_ASSIGN_OR_RETURN(model, DeepseekV2::load(*backend, *checkpoint, quantization, config,
                                                  {.activation_dtype = activation_dtype,
                                                   .max_tokens = options.max_num_batched_tokens,
                                                   .max_logits_rows = max_num_seqs + max_drafts,
                                                   .max_positions = max_model_len,
                                                   .sharding = sharding,
                                                   .communicator = device_ranks},
                                                  progress));
  FATHOM_ASSIGN_OR_RETURN(LatentCache made, LatentCache::create(*backend, config, cache_options));
  cache = std::make_unique<LatentCache>(std::move(made));
  runner = std::make_unique<Runner>(*backend, *model, *cache, communicator);
  runner->set_expanded_prompt_tokens(expanded_prompt_tokens);
  row_reader = std::make_unique<RowReader>(*backend, config.vocab_size, num_drawable());
  std::vector<PagePool*> borrowed;
  for (int64_t home = 0; home < sharding.num_homes(); ++home) {
    pools.push_back(std::make_unique<PagePool>(static_cast<int32_t>(cache_options.num_pages),
                                               static_cast<int32_t>(options.block_size)));
    borrowed.push_back(pools.back().get());
  }
  FATHOM_ASSIGN_OR_RETURN(KeyedHash hash, KeyedHash::create());
  scheduler = std::make_unique<Scheduler>(scheduler_config, borrowed, std::move(hash));
  FATHOM_RETURN_IF_ERROR(make_drafter(max_num_seqs, draft ? &*draft : nullptr, progress));
  if (communicator != nullptr) FATHOM_RETURN_IF_ERROR(communicator->barrier());  // all have loaded
  // Of several ranks the first has the others do the same.
  if (options.device == DeviceKind::kCuda && (communicator == nullptr || communicator->rank() == 0)) {
    FATHOM_RETURN_IF_ERROR(warm_up(*runner, *row_reader,
                                   {.num_tokens = options.max_num_batched_tokens,
                                    .num_logits_rows = max_num_seqs + max_drafts,
                                    .num_pages = ceil_div(max_model_len, options.block_size),
                                    .max_model_len = max_model_len,
                                    .expanded_prompt_tokens = expanded_prompt_tokens}));
  }
  log_info("{}: {} bytes of weights opened in {:.2f} s; {} cache pages of {} tokens", options.model_dir,
           checkpoint->data_bytes(), monotonic_seconds() - started, size.num_pages * sharding.num_homes(),
           options.block_size);
  return ok_status();
}

// draft: of a draft model, else null.
Status Engine::Impl::make_drafter(int64_t max_num_seqs, const DraftCheckpoint* draft,
                                  ProgressSink* progress) {
  if (options.speculation == Speculation::kOff) return ok_status();
  const int64_t max_drafts = Drafter::max_step_drafts(max_num_seqs);
  if (draft == nullptr) {
    drafter = std::make_unique<LookupDrafter>(max_drafts);
    return ok_status();
  }
  FATHOM_ASSIGN_OR_RETURN(auto draft_model, DraftModel::load(*backend, *draft,
                                                             {.dtype = options.dtype,
                                                              .kv_cache_dtype = options.kv_cache_dtype,
                                                              .block_size = cache->options().block_size,
                                                              .num_pages = cache->options().num_pages,
                                                              .max_tokens = options.max_num_batched_tokens,
                                                              .max_logits_rows = max_num_seqs,
                                                              .max_positions = max_model_len,
                                                              .num_drawable = num_drawable()},
                                                             progress));
  drafter = std::make_unique<ModelDrafter>(
      std::move(draft_model), choices,
      ModelDrafterOptions{.max_drafts = max_drafts, .now = [this] { return now(); }});
  log_info("{}: drafts for {}", draft->directory, options.model_dir);
  return ok_status();
}

}  // namespace fathom
