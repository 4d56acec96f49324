// The engine's parts and state; only engine/*.cc sees it.
#pragma once

#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cache/page_pool.h"
#include "checkpoint/checkpoint.h"
#include "device/backend.h"
#include "engine/choice.h"
#include "engine/draft_checkpoint.h"
#include "engine/drafter.h"
#include "engine/engine.h"
#include "engine/row_reader.h"
#include "engine/runner.h"
#include "engine/step_costs.h"
#include "model/deepseek_v2.h"
#include "model/latent_cache.h"
#include "schedule/scheduler.h"

namespace fathom {

struct Engine::Impl {
  // What a step gave one choice.
  struct Outcome {
    SequenceId id = 0;
    std::vector<Choice::Step> steps;
    Status status = {};  // not ok: after these steps, if any
  };

  // Whose tokens are drawn, and from what.
  struct Draw {
    const Segment* segment = nullptr;
    const DrawnRow* rows = nullptr;  // [num_logits]
  };

  // What drawing one choice's tokens takes room for.
  struct DrawRoom {
    ChoiceWorkspace workspace;
    std::vector<int32_t> generated;  // with the drafts that held
    std::exception_ptr failure;
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
  DeviceCommunicator* device_ranks = nullptr;  // the backend's; null: alone
  std::unique_ptr<DeepseekV2> model;
  std::unique_ptr<LatentCache> cache;
  std::unique_ptr<Runner> runner;
  std::unique_ptr<RowReader> row_reader;
  std::vector<std::unique_ptr<PagePool>> pools;  // one a cache that has sequences of its own
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<Drafter> drafter;  // or null

  std::vector<int32_t> end_ids;  // any of them ends an answer
  int64_t max_model_len = 0;
  int64_t num_steps = 0;
  int64_t num_computed_tokens = 0;
  uint64_t num_salts = 0;   // that requests were given, where they share no prefixes
  double next_recount = 0;  // monotonic seconds
  StepWork last_step;
  // Choice i of a request is the sequence of its id + i: the scheduler's ids are consecutive.
  std::map<SequenceId, Choice> choices;
  StepCosts costs;
  std::once_flag trie_made;
  std::shared_ptr<const TokenTrie> trie;

  // Reused from step to step.
  std::vector<SegmentInput> segments;
  std::vector<RowDraw> row_draws;  // one per row of logits
  std::vector<Draw> draws;         // one per segment with logits
  std::vector<Outcome> outcomes;   // likewise
  std::vector<int32_t> new_tokens;
  std::vector<int32_t> new_counts;   // per outcome
  std::vector<DrawRoom> draw_rooms;  // by host thread

  Status open(ProgressSink* progress);
  Status make_drafter(int64_t max_num_seqs, const DraftCheckpoint* draft, ProgressSink* progress);
  // Of several ranks: whether all are about to do the same.
  Status agree() const;
  double now() const;
  // Ids below this are drawn. Those that only pad the vocabulary have no text, and the model never saw them.
  size_t num_drawable() const;
  Status check_request(const Request& request) const;
  std::string salt_of(const Request& request);
  // Who computes how much in the step to come, from what steps have cost.
  Status prepare_plan();
  Status compute(const BatchPlan& plan);
  StepWork work_of(const BatchPlan& plan) const;
  void lay_out(const BatchPlan& plan);
  // Of the plan's rows of logits, in order.
  void plan_draws(const BatchPlan& plan);
  void take_rows(const BatchPlan& plan, std::span<const DrawnRow> rows);
  void draw_all(const BatchPlan& plan, std::span<const DrawnRow> rows);
  void advance(const Draw& draw, DrawRoom& room, Outcome& outcome);
  Status score_prompts(const BatchPlan& plan);
  void deliver(const Outcome& outcome);
  void deliver(SequenceId id, const Choice::Step& step, bool is_last);
  void end(SequenceId id, RequestEvent event);
  void end_all(RequestId id, const RequestEvent& last);
};

}  // namespace fathom
