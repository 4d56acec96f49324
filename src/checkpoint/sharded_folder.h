// sharding.json: a model folder whose weights lie in files of each rank's own, written by `fathom shard`
// (docs/parallel.md): for how many ranks it was made, of what, and which files are whose. What the ranks'
// tensors are is model/rank_weights.h's business.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/quant_type.h"
#include "tensor/dtype.h"

namespace fathom {

inline constexpr const char* kShardingName = "sharding.json";
inline constexpr int64_t kMaxFolderSlices = 1024;

struct RankFile {
  std::string name;
  uint64_t bytes = 0;
  std::string header_checksum;  // of the bytes in front of the data, which name the folder they belong to
  std::string digest;           // of the checksums of header and tensors, in the manifest's order
};

// All weights of one role in one format and type, as the source stores them.
struct ShardedGroup {
  std::string role;
  DType dtype = DType::kBFloat16;
  QuantType type = QuantType::kFloat;
  int64_t num_tensors = 0;
  int64_t num_elements = 0;
  uint64_t bytes = 0;                // of the whole model
  std::vector<uint64_t> rank_bytes;  // by rank
};

struct ShardedFolder {
  int64_t num_ranks = 1;
  int64_t num_slices = 1;
  int64_t num_expert_groups = 1;
  int64_t width_unit = 1;
  std::string source_digest;  // of its config, description, tensors' names and shapes, and samples of values
  std::vector<ShardedGroup> groups;
  std::vector<std::vector<RankFile>> files;  // by rank
  std::string checksum;                      // of the file's text
};

// nullopt where the folder has no sharding.json. Refused: anything that write_sharding() does not write,
// numbers that do not fit each other, a file name that is a path.
Result<std::optional<ShardedFolder>> read_sharding(const std::string& directory);
// The file's text.
std::string write_sharding(const ShardedFolder& folder);

// "rank-03-of-16.safetensors", or of several files "rank-03-of-16-00001-of-00002.safetensors"; and the rank's
// part of the manifest.
std::string rank_file_name(int64_t rank, int64_t num_ranks, size_t file, size_t num_files);
std::string rank_manifest_name(int64_t rank, int64_t num_ranks);

// "4 ranks, --moe-ep 1, --slices 4": what a folder was made for, in messages.
std::string sharding_text(int64_t num_ranks, int64_t num_expert_groups, int64_t num_slices);

}  // namespace fathom
