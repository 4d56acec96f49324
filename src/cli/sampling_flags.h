// The sampling options of commands that generate, and what they become here and on a server.
#pragma once

#include <CLI/App.hpp>
#include <cstdint>

#include "base/json.h"
#include "checkpoint/generation_config.h"
#include "sample/sampling_params.h"

namespace fathom {

struct SamplingFlags {
  SamplingParams params;  // a command may set a default max_tokens
  int64_t max_tokens = 0;
  uint64_t seed = 0;
  bool greedy = false;

  struct Given {
    CLI::Option *max_tokens = nullptr, *temperature = nullptr, *top_p = nullptr, *top_k = nullptr,
                *min_p = nullptr, *repetition_penalty = nullptr, *presence_penalty = nullptr,
                *frequency_penalty = nullptr, *seed = nullptr;
  } given;
};

// flags must outlive the parse and what follows.
void add_sampling_flags(CLI::App& command, SamplingFlags& flags);

// What was not given is the model's.
SamplingParams sampling_of(const SamplingFlags& flags, const GenerationConfig& defaults);
// Fields of a request: only what was given.
Json sampling_json(const SamplingFlags& flags);

}  // namespace fathom
