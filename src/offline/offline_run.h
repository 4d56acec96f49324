// Answers a file of prompts at the best throughput: as many at once as the engine takes, those that begin
// alike one after another, each answer on disk as it ends (offline/answer_journal.h). A line that fails
// leaves an error record and nothing else. Answers do not depend on the order (docs/numerics.md), so an
// interrupted run that goes on gives what an uninterrupted one gives.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "offline/prompt_file.h"

namespace fathom {

struct OfflineProgress {
  size_t num_done = 0;        // by this process
  size_t num_lines = 0;       // that were left for it
  int64_t prompt_tokens = 0;  // of this process, without those taken over from the cache
  int64_t answer_tokens = 0;
  double seconds = 0;
};

struct OfflineOptions {
  std::string path;
  std::string out;
  LineDefaults defaults;
  Json setup = Json::object();  // what else decides the answers; path, content and defaults are added
  size_t max_num_seqs = 64;     // the engine's
  size_t expanded_prompt_tokens = 0;
  // Called between steps. May be empty.
  std::function<void(const OfflineProgress&)> on_progress = {};
};

struct OfflineSummary {
  size_t num_lines = 0;
  size_t num_failed = 0;   // lines with an error record
  size_t num_resumed = 0;  // lines that an interrupted run had finished
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of these, taken over from the cache
  int64_t answer_tokens = 0;
  double seconds = 0;
  std::string first_error = {};  // that this process met
};

// One thread, the engine's. An error (the file, the disk, the engine) ends the run; what has been answered
// stays.
Result<OfflineSummary> run_offline(Engine& engine, const ServedModel& model, const OfflineOptions& options);

}  // namespace fathom
