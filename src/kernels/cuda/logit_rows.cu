// What draws need to know of rows of logits in place of the logits (kernels/row_query.h), in up to three
// launches: the peak of every block of 32 ids, the sums of weights of every group of 1,024, and a block of
// threads a row that makes the record of them.
//
// 256 rows of 102,400: the first two launches read 105 MB each, 22 us at 4.8 TB/s. A weight is some 40
// float64 operations, 70 us for all on an H200; rows that want no sum take none. The last launch reads the
// blocks' peaks, 1/32 of a row, and the blocks that may have tokens of the head. One row alone spreads over
// 25 blocks of threads, then waits for one: some 10 us.
#include "base/draw_math.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

// A warp takes a group in the first two launches.
constexpr int kScanThreads = 128;
constexpr int kScanWarps = kScanThreads / kWarpLanes;
static_assert(kSumBlock == kWarpLanes && kBlocksPerGroup == kWarpLanes);
constexpr int kFinishThreads = 1024;
constexpr int kFinishWarps = kFinishThreads / kWarpLanes;
static_assert(kFinishWarps == kWarpLanes);  // block_max and block_total
// What is sorted for a head: 64 KiB.
constexpr int kMaxCandidates = 8192;
static_assert(kMaxCandidates >= kMaxHead);
// The head's candidates are told apart from the rest by this many of a key's first bits.
constexpr int kKeyBits = 20;
// A group's weights in shared memory: a line of 32 for each block, and its sum.
constexpr int kLine = kSumBlock + 1;
constexpr int kGroupRoom = kBlocksPerGroup * kLine;

constexpr uint32_t kUnusable = ~0u;  // the key of NaN and +infinity
constexpr uint32_t kAbsent = 0;      // the key of ids beyond the row

struct Row {
  const float* logits;
  int64_t width;
  int64_t index;  // among the queries
  int64_t num_groups;
  FATHOM_DEVICE uint32_t key(int64_t id) const {
    if (id >= width) return kAbsent;
    return logits[id] <= kLargestFloat ? logit_key(logits[id]) : kUnusable;
  }
};

FATHOM_DEVICE Row row_of(const cuda::LogitRowsParams& p, int64_t index) {
  return {p.logits + p.queries[index].row * p.stride, p.width, index, cuda::num_sum_groups(p.width)};
}

FATHOM_KERNEL(kScanThreads) peaks_kernel(cuda::LogitRowsParams p) {
  begin_kernel();
  const Row row = row_of(p, block_y());
  const int64_t group = block_x() * kScanWarps + warp_index();
  if (group >= row.num_groups) return;  // the whole warp
  const int64_t first = group * kSumGroup + lane_index();
  uint32_t own = kAbsent;
  FATHOM_UNROLL
  for (int block = 0; block < kBlocksPerGroup; ++block) {
    const uint32_t peak = warp_max(row.key(first + block * kSumBlock));
    own = block == lane_index() ? peak : own;
  }
  const int64_t place = row.index * row.num_groups + group;
  p.block_peaks[place * kBlocksPerGroup + lane_index()] = own;
  own = warp_max(own);
  if (lane_index() == 0) p.group_peaks[place] = own;
}

// The same in every lane.
FATHOM_DEVICE uint32_t row_peak(const cuda::LogitRowsParams& p, const Row& row) {
  const uint32_t* peaks = p.group_peaks + row.index * row.num_groups;
  uint32_t own = kAbsent;
  for (int64_t group = lane_index(); group < row.num_groups; group += kWarpLanes)
    own = peaks[group] > own ? peaks[group] : own;
  return warp_max(own);
}

// A warp's part of a block's weights, kGroupRoom of them.
struct GroupWeights {
  SharedArray<double> room;
  int first;
  FATHOM_DEVICE double& weight(int block, int i) const { return room[first + block * kLine + i]; }
  FATHOM_DEVICE double& sum(int block) const { return weight(block, kSumBlock); }
};

// A warp takes the weights of a group's ids: a lane an id of each block, then a lane a block's sum.
FATHOM_DEVICE void weigh_group(const Row& row, int64_t group, float greatest, double inverse_temperature,
                               const GroupWeights& weights) {
  const int64_t first = group * kSumGroup + lane_index();
  for (int block = 0; block < kBlocksPerGroup; ++block) {
    const int64_t id = first + block * kSumBlock;
    weights.weight(block, lane_index()) =
        id < row.width ? logit_weight(row.logits[id], greatest, inverse_temperature) : 0.0;
  }
  sync_warp();
  double sum = 0;
  for (int i = 0; i < kSumBlock; ++i) sum += weights.weight(lane_index(), i);
  weights.sum(lane_index()) = sum;
  sync_warp();
}

FATHOM_KERNEL(kScanThreads) weights_kernel(cuda::LogitRowsParams p) {
  begin_kernel();
  SharedMemory shared;
  const SharedArray<double> room = shared.take<double>(kScanWarps * kGroupRoom);
  const Row row = row_of(p, block_y());
  const int64_t group = block_x() * kScanWarps + warp_index();
  const double inverse_temperature = p.queries[row.index].inverse_temperature;
  if (group >= row.num_groups || !(inverse_temperature > 0)) return;  // the whole warp
  const GroupWeights weights{room, warp_index() * kGroupRoom};
  weigh_group(row, group, key_logit(row_peak(p, row)), inverse_temperature, weights);
  if (lane_index() != 0) return;
  double sum = 0;
  for (int block = 0; block < kBlocksPerGroup; ++block) sum += weights.sum(block);
  p.group_sums[row.index * row.num_groups + group] = sum;
}

// Over a block's 32 warps; room is free again at the return.
FATHOM_DEVICE uint32_t block_max(uint32_t value, SharedArray<uint32_t> room) {
  const uint32_t own = warp_max(value);
  if (lane_index() == 0) room[warp_index()] = own;
  sync_threads();
  const uint32_t largest = warp_max(room[lane_index()]);
  sync_threads();
  return largest;
}
FATHOM_DEVICE int32_t block_total(int32_t value, SharedArray<uint32_t> room) {
  const int32_t own = warp_sum(value);
  if (lane_index() == 0) room[warp_index()] = static_cast<uint32_t>(own);
  sync_threads();
  const int32_t total = warp_sum(static_cast<int32_t>(room[lane_index()]));
  sync_threads();
  return total;
}

// The first id with this key, which is the row's greatest.
FATHOM_DEVICE int32_t find_peak(const uint32_t* peaks, const Row& row, uint32_t peak,
                                SharedArray<uint32_t> room) {
  uint32_t best = 0;  // the complement of the first block that has it
  for (int64_t block = thread_index(); block < row.num_groups * kBlocksPerGroup; block += kFinishThreads) {
    const uint32_t candidate = ~static_cast<uint32_t>(block);
    if (peaks[block] == peak && candidate > best) best = candidate;
  }
  const uint32_t first = ~block_max(best, room) * kSumBlock;
  const bool is_peak = row.key(first + lane_index()) == peak;
  return static_cast<int32_t>(first + ~warp_max(is_peak ? ~static_cast<uint32_t>(lane_index()) : 0u));
}

// The token that u draws, by a warp. before: the sum of the groups before the one in which it is.
FATHOM_DEVICE int32_t draw_in_group(int64_t group, double before, double target,
                                    const GroupWeights& weights) {
  double blocks = 0;
  int block = 0;
  for (; block + 1 < kBlocksPerGroup && !(before + (blocks + weights.sum(block)) > target); ++block)
    blocks += weights.sum(block);
  double sum = 0;
  int i = 0;
  for (; i + 1 < kSumBlock; ++i) {
    sum += weights.weight(block, i);
    if (before + (blocks + sum) > target) break;
  }
  return static_cast<int32_t>(group * kSumGroup + block * kSumBlock + i);
}

// The sum of all weights, and the token that is drawn from them; every thread adds the groups' sums.
FATHOM_DEVICE void sum_and_draw(const cuda::LogitRowsParams& p, const Row& row, SharedArray<double> room,
                                RowRecord& record) {
  const RowQuery& query = p.queries[row.index];
  const double* sums = p.group_sums + row.index * row.num_groups;
  for (int64_t group = 0; group < row.num_groups; ++group) record.total += sums[group];
  if (!(query.u >= 0) || warp_index() != 0) return;
  const double target = query.u * record.total;
  double before = 0;
  int64_t group = 0;
  for (; group + 1 < row.num_groups && !(before + sums[group] > target); ++group) before += sums[group];
  const GroupWeights weights{room, 0};
  weigh_group(row, group, record.peak, query.inverse_temperature, weights);
  record.drawn_id = draw_in_group(group, before, target, weights);
}

// A key that `count` blocks have tokens of or above, so that the `count` tokens first in rank are among
// those; the greatest but for its last bits. Where there are fewer blocks: that of all tokens, if so many can
// be sorted, or of as many as there are blocks.
FATHOM_DEVICE uint32_t head_key(const uint32_t* peaks, const Row& row, int32_t count,
                                SharedArray<uint32_t> room) {
  const int64_t num_blocks = (row.width + kSumBlock - 1) / kSumBlock;
  const uint32_t least = logit_key(-kLargestFloat);
  if (count > num_blocks && row.width <= kMaxCandidates) return least;
  const int64_t wanted = count < num_blocks ? count : num_blocks;
  uint32_t key = 0;
  for (int bit = 31; bit > 31 - kKeyBits; --bit) {
    const uint32_t higher = key | 1u << bit;
    int32_t own = 0;
    for (int64_t block = thread_index(); block < num_blocks; block += kFinishThreads)
      own += peaks[block] >= higher;
    if (block_total(own, room) >= wanted) key = higher;
  }
  return key > least ? key : least;
}

// Calls visit(key, id) for a warp's share of the row's blocks that have keys from `least` on, every lane with
// an id of its own.
template <typename Visit>
FATHOM_DEVICE void visit_blocks(const uint32_t* peaks, const Row& row, uint32_t least, const Visit& visit) {
  for (int64_t group = warp_index(); group < row.num_groups; group += kFinishWarps) {
    const uint32_t chosen = ballot(peaks[group * kBlocksPerGroup + lane_index()] >= least);
    const int64_t first = group * kSumGroup + lane_index();
    FATHOM_UNROLL
    for (int block = 0; block < kBlocksPerGroup; ++block) {
      const int64_t id = first + block * kSumBlock;
      const bool is_chosen = (chosen >> block & 1u) != 0;
      visit(is_chosen ? row.key(id) : kAbsent, id);
    }
  }
}

// The ranks of all tokens with keys from `least` on; their number, which may be too large: then they are not
// there. A warp's stand behind those of the warps before it.
FATHOM_DEVICE int32_t collect(const uint32_t* peaks, const Row& row, uint32_t least,
                              SharedArray<uint64_t> ranks, SharedArray<uint32_t> room) {
  int32_t own = 0;
  visit_blocks(peaks, row, least, [&](uint32_t key, int64_t) { own += key >= least; });
  own = warp_sum(own);
  if (lane_index() == 0) room[warp_index()] = static_cast<uint32_t>(own);
  sync_threads();
  const auto others = static_cast<int32_t>(room[lane_index()]);
  const int32_t count = warp_sum(others);
  int32_t place = warp_sum(lane_index() < warp_index() ? others : 0);
  sync_threads();
  if (count > kMaxCandidates) return count;
  const uint32_t lower_lanes = (1u << lane_index()) - 1;
  visit_blocks(peaks, row, least, [&](uint32_t key, int64_t id) {
    const uint32_t votes = ballot(key >= least);
    if (key >= least)
      ranks[place + count_bits(votes & lower_lanes)] = uint64_t{~key} << 32 | static_cast<uint32_t>(id);
    place += count_bits(votes);
  });
  return count;
}

// Batcher's bitonic sort, least first, of count values and what fills them up to a power of two.
FATHOM_DEVICE void sort(SharedArray<uint64_t> values, int count) {
  int padded = 2;
  while (padded < count) padded *= 2;
  for (int i = count + thread_index(); i < padded; i += kFinishThreads) values[i] = ~uint64_t{0};
  sync_threads();
  for (int size = 2; size <= padded; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      for (int pair = thread_index(); pair < padded / 2; pair += kFinishThreads) {
        const int low = 2 * pair - (pair & (step - 1));
        const uint64_t a = values[low], b = values[low + step];
        if ((a > b) != ((low & size) == 0)) continue;
        values[low] = b;
        values[low + step] = a;
      }
      sync_threads();
    }
  }
}

FATHOM_DEVICE void take_head(const cuda::LogitRowsParams& p, const Row& row, SharedArray<uint64_t> ranks,
                             SharedArray<uint32_t> room, RowRecord& record) {
  const uint32_t* peaks = p.block_peaks + row.index * row.num_groups * kBlocksPerGroup;
  const int32_t wanted = p.queries[row.index].head;
  uint32_t least = 0;
  int32_t count = kMaxCandidates + 1;
  // Where likely tokens are neighbours, or many are equal, a shorter head has to do.
  for (int32_t length = wanted; count > kMaxCandidates && length > 0; length /= 4) {
    least = head_key(peaks, row, length, room);
    count = collect(peaks, row, least, ranks, room);
  }
  if (count > kMaxCandidates) return;
  sort(ranks, count);
  record.num_head = count < wanted ? count : wanted;
  record.has_all = least == logit_key(-kLargestFloat) && count <= wanted;
  uint64_t* head = p.heads + row.index * p.head_stride;
  for (int i = thread_index(); i < record.num_head; i += kFinishThreads) head[i] = ranks[i];
}

FATHOM_KERNEL(kFinishThreads) records_kernel(cuda::LogitRowsParams p) {
  begin_kernel();
  SharedMemory shared;
  const SharedArray<uint64_t> ranks = shared.take<uint64_t>(kMaxCandidates);
  const SharedArray<double> weights = shared.take<double>(kGroupRoom);
  const SharedArray<uint32_t> room = shared.take<uint32_t>(kFinishWarps);
  const Row row = row_of(p, block_x());
  const uint32_t peak = row_peak(p, row);
  RowRecord record;
  if (peak != kUnusable && peak >= logit_key(-kLargestFloat)) {
    record.peak_id = find_peak(p.block_peaks + row.index * row.num_groups * kBlocksPerGroup, row, peak, room);
    record.peak = row.logits[record.peak_id];
    if (p.queries[row.index].inverse_temperature > 0) sum_and_draw(p, row, weights, record);
    if (p.queries[row.index].head > 0) take_head(p, row, ranks, room, record);
  }
  if (thread_index() == 0) p.records[row.index] = record;
}

}  // namespace

int logit_rows(const cuda::LogitRowsParams& p, void* stream) {
  const int64_t num_groups = cuda::num_sum_groups(p.width);
  LaunchShape scan{.blocks_x = (num_groups + kScanWarps - 1) / kScanWarps,
                   .blocks_y = p.num_rows,
                   .threads = kScanThreads,
                   .stream = stream};
  if (const LaunchError error = launch(peaks_kernel, scan, p); error != 0) return error;
  if (p.wants_sums) {
    scan.shared_bytes = kScanWarps * kGroupRoom * sizeof(double);
    if (const LaunchError error = launch(weights_kernel, scan, p); error != 0) return error;
  }
  return launch(records_kernel,
                {.blocks_x = p.num_rows,
                 .threads = kFinishThreads,
                 .shared_bytes = kMaxCandidates * sizeof(uint64_t) + kGroupRoom * sizeof(double) +
                                 kFinishWarps * sizeof(uint32_t),
                 .stream = stream},
                p);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
