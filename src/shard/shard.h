// `fathom shard`: a model folder becomes one with files of each rank's own (docs/parallel.md). The source is
// read once, in bounded memory; whole or not at all, the same bytes for any interruptions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/status.h"
#include "checkpoint/output_folder.h"
#include "model/sharding.h"

namespace fathom {

struct ShardOptions {
  std::string source;
  std::string destination;
  int64_t num_ranks = 1;
  int64_t num_expert_groups = 1;
  int64_t num_slices = 0;                   // 0: one a rank
  uint64_t file_bytes = uint64_t{5} << 30;  // largest file of several layers
  ExistingModel existing = ExistingModel::kRefuse;
};

struct ShardResult {
  Sharding sharding;
  uint64_t source_bytes = 0;          // of data
  std::vector<uint64_t> rank_bytes;   // of files, by rank
  uint64_t num_files = 0;             // of weights
  uint64_t num_resumed_files = 0;     // that an interrupted run had finished
  std::vector<std::string> left_out;  // tensors of the source that the model does not need
};

// Everything is written to DESTINATION.partial, which gets its final name as the last act; interrupted, the
// same call goes on behind the last layers of which every rank's file is whole. Checked before anything is
// written: the source is a whole model, the sharding fits it, the destination is free and there is room.
// progress may be null.
Result<ShardResult> shard_model(const ShardOptions& options, ProgressSink* progress);

}  // namespace fathom
