// The engine's parts and state; only engine/*.cc sees it.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "cache/page_pool.h"
#include "checkpoint/checkpoint.h"
#include "device/backend.h"
#include "engine/engine.h"
#include "engine/prompt_scorer.h"
#include "engine/request_stream.h"
#include "engine/runner.h"
#include "model/deepseek_v2.h"
#include "model/latent_cache.h"
#include "schedule/scheduler.h"

namespace fathom {

struct Engine::Impl {
  // A request under way.
  struct ActiveRequest {
    SamplingParams sampling;
    uint64_t random_key = 0;
    std::vector<int32_t> end_ids;  // not drawn before sampling.min_tokens; empty where it is 0
    RequestStream stream;
    RequestListener listener;
    std::optional<PromptScorer> scorer;  // until the first token
  };

  // In the order in which they are made; each refers to those before it.
  EngineOptions options;
  Communicator* communicator = nullptr;  // null: alone
  ModelConfig config;
  Sharding sharding;
  GenerationConfig generation_config;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<DeepseekV2> model;
  std::unique_ptr<LatentCache> cache;
  std::unique_ptr<Runner> runner;
  std::unique_ptr<PagePool> pool;
  std::unique_ptr<Scheduler> scheduler;

  std::vector<int32_t> end_ids;  // any of them ends an answer
  int64_t max_model_len = 0;
  int64_t num_steps = 0;
  std::unordered_map<RequestId, ActiveRequest> requests;

  // Reused from step to step.
  std::vector<SegmentInput> segments;
  std::vector<SampledToken> sampled;  // one per wanted row
  std::vector<Status> sample_status;
  std::vector<int32_t> sampled_ids;
  SamplerWorkspace workspace;

  Status open(ProgressSink* progress);
  // Of several ranks: whether all are about to do the same.
  Status agree() const;
  Status check_request(const Request& request) const;
  void lay_out(const BatchPlan& plan);
  std::vector<int32_t> early_end_ids(const SamplingParams& sampling) const;
  void sample_rows(const BatchPlan& plan, std::span<const float> logits);
  Status score_prompts(const BatchPlan& plan);
  void deliver(RequestId id, const SampledToken& token);
  void fail(RequestId id, const Status& status);
  void end(RequestId id, RequestEvent event);
};

}  // namespace fathom
