// The options every command that loads a model shares, and how they become EngineOptions.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>

#include "engine/engine.h"

namespace fathom {

struct EngineFlags {
  std::string model;
  std::string device = "cpu";
  std::string dtype = "auto";
  std::string kv_cache_dtype = "auto";
  std::string kv_memory;
  std::string max_model_len;
  std::string max_num_batched_tokens = "512";
  int64_t block_size = 128;
  std::string speculation;  // empty: by the draft model where one is given, else default_speculation
  Speculation default_speculation = Speculation::kNgram;
  std::string draft_model;
  bool prefix_caching = true;
  int64_t max_num_seqs = 64;
  int64_t max_prefill_tokens = 0;
  int64_t max_prefill_seqs = 0;
  std::optional<int64_t> max_wait_steps;
  int threads = 0;
  int num_ranks = 0;   // 0: as many as there are
  int num_slices = 0;  // 0: one a rank
  int num_expert_groups = 1;
  bool dp_attention = false;
};

// The heading of these options in --help.
inline constexpr const char* kEngineGroup = "Engine";

// Adds MODEL and the shared options to a subcommand, or the options alone. flags must outlive the parse.
void add_engine_flags(CLI::App& command, EngineFlags& flags);
void add_engine_options(CLI::App& command, EngineFlags& flags);

// Reads FATHOM_ISA from the environment. Errors name the option, the value and what is allowed; dtype_prefix
// is how the dtypes' options begin.
Result<EngineOptions> to_engine_options(const EngineFlags& flags, const std::string& dtype_prefix = "--");

// "cpu" or "cuda".
Result<DeviceKind> parse_device(const std::string& text);

// The instruction set in use: the best this machine has, or less if FATHOM_ISA says so.
Result<Isa> isa_in_use(const CpuFeatures& features);

}  // namespace fathom
