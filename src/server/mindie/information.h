// What MindIE Service tells of itself, as JSON. Pure functions.
#pragma once

#include <string>

#include "engine/engine.h"
#include "server/limits.h"
#include "server/served_model.h"

namespace fathom::mindie {

// What does not change while the service runs.
struct ServiceFacts {
  std::string version;
  int64_t max_num_seqs = 0;
  int64_t block_size = 0;
  int64_t max_prefill_tokens = 0;  // of a step
  int64_t max_prefill_seqs = 0;
  std::string admin_address;  // of the management port, or the service's own
};

// What does.
struct ServiceLoad {
  int64_t waiting = 0;  // sequences
  int64_t running = 0;
  EngineStatistics statistics;
};

// The longest prompt and answer.
int64_t max_prompt_tokens(const ServedModel& model, const ServerLimits& limits);
int64_t max_answer_tokens(const ServedModel& model, const ServerLimits& limits);

Json info_json(const ServiceFacts& facts, const ServedModel& model, const ServerLimits& limits);    // /info
Json server_json(const ServiceFacts& facts, const ServedModel& model, const ServerLimits& limits);  // /v2
Json model_json(const std::string& name);                                   // /v2/models/{m}
Json model_config_json(const std::string& name, const ServedModel& model);  // .. /config
Json slots_json(const ServiceFacts& facts, const ServiceLoad& load);        // .. /getSlotCount
Json config_json(const ServiceFacts& facts, const ServedModel& model,
                 const ServerLimits& limits);                          // /v1/config
Json status_json(const ServiceFacts& facts, const ServiceLoad& load);  // /v1/status, /v2/status
// /metrics-json; times in milliseconds.
Json metrics_json(const ServiceFacts& facts, const ServiceLoad& load, double first_token,
                  double between_tokens);

}  // namespace fathom::mindie
