// Weights, wherever their values come from, streamed into the files of a layout: floating ones as they are,
// the others rounded on the way. Piece by piece, shared out over a thread team; the bytes do not depend on
// it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/thread_team.h"
#include "checkpoint/shard_writer.h"
#include "model/rounding.h"
#include "model/stored_layout.h"

namespace fathom {

// The floating values of one weight. Any thread may read any part.
class WeightValues {
 public:
  virtual ~WeightValues() = default;
  // Elements [begin, end) as they are stored, in the planned weight's dtype.
  virtual void copy(int64_t begin, int64_t end, std::byte* out) const = 0;
  // One row as floats.
  virtual void read_row(int64_t row, std::span<float> out) const = 0;
};

struct StreamOptions {
  int num_threads = 1;
  Rounding int8_rounding = Rounding::kNearest;
  Rounding int4_rounding = Rounding::kNearest;
};

class WeightStream {
 public:
  // The layout is borrowed, progress may be null.
  WeightStream(const StoredLayout& layout, const StreamOptions& options, ProgressSink* progress);

  // Values of the planned weight of that index.
  using OpenValues = FunctionRef<Result<std::unique_ptr<WeightValues>>(size_t weight)>;
  // What rounding cost in each of its rows; an error of it ends the stream. Not called for floating weights.
  using RowsDone =
      FunctionRef<Status(size_t weight, const WeightValues& values, std::span<const RowError> rows)>;

  // All tensors of one shard, to the file that the writer has begun.
  Status write_shard(const PlannedShard& shard, ShardWriter& writer, OpenValues open, RowsDone rows_done);
  // Counts a shard that need not be written as done.
  void skip_shard(const PlannedShard& shard);

 private:
  // Where the tensors of one weight are in its shard.
  struct Places {
    size_t weight = 0;
    size_t scale = 0;
    size_t factors = 0;
  };
  // A row in all forms it is stored in.
  struct RowOutput {
    std::byte* bytes;
    uint8_t* factors;
    float* scale;
  };

  Status write_float(const PlannedWeight& weight, size_t place, const WeightValues& values);
  Status write_rounded(size_t weight, const Places& places, const WeightValues& values, RowsDone rows_done);
  RowError round_row(const PlannedWeight& weight, const WeightValues& values, int64_t row,
                     const RowOutput& out, int thread);
  Status put(size_t place, std::vector<std::byte> bytes);
  Status put_copy(size_t place, std::span<const std::byte> bytes);

  const StoredLayout& layout_;
  ProgressSink* progress_;
  ThreadTeam team_;
  struct ThreadScratch {
    RowRounder int8;
    RowRounder int4;
    std::vector<float> row;
  };
  std::vector<ThreadScratch> scratch_;
  ShardWriter* writer_ = nullptr;  // of the shard being written
  uint64_t total_bytes_;
  uint64_t done_bytes_ = 0;
};

}  // namespace fathom
