// Absorbed attention of many rows and splits on the emulated device against the scalar reference; tolerances
// as in kernels/attention_test.cc.
#include <map>

#include "kernels/attention_test_support.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/split_plan.h"

namespace fathom::kernels::cuda_emulated {
namespace {

cuda::SplitPlan plan_of(std::span<const cuda::SplitRow> rows, int64_t max_results = 1 << 20) {
  cuda::SplitPlan plan;
  cuda::plan_splits(rows, max_results, plan);
  return plan;
}

// Rows at positions of segments, each a run of rows whose page table starts at `table`.
struct PlannedSegment {
  int32_t first_row, table, first_position, num_rows;
};
std::vector<cuda::SplitRow> rows_of(const std::vector<PlannedSegment>& segments) {
  std::vector<cuda::SplitRow> rows;
  for (const PlannedSegment& segment : segments)
    for (int32_t i = 0; i < segment.num_rows; ++i)
      rows.push_back({segment.first_row + i, segment.table, segment.first_position + i});
  return rows;
}

// Walks a row's results, in order: they cover its keys once, in splits of its own length, and are its alone.
void check_plan(const std::vector<cuda::SplitRow>& rows, const cuda::SplitPlan& plan, int64_t max_results) {
  ASSERT_EQ(plan.results.size(), rows.size());
  size_t index = 0;
  int32_t items_end = 0;
  for (const cuda::SplitPass& pass : plan.passes) {
    EXPECT_EQ(pass.first_item, items_end);
    EXPECT_EQ(pass.first_result, static_cast<int32_t>(index));
    items_end += pass.num_items;
    // By result: the item and which of its rows.
    std::map<int32_t, std::pair<cuda::SplitItem, int32_t>> owners;
    for (int32_t i = pass.first_item; i < items_end; ++i) {
      const cuda::SplitItem& item = plan.items[static_cast<size_t>(i)];
      EXPECT_LE(item.num_rows, plan.max_item_rows);
      for (int32_t r = 0; item.key_begin < item.key_end && r < item.num_rows; ++r)
        EXPECT_TRUE(owners.emplace(item.first_result + r, std::pair(item, r)).second);
    }
    EXPECT_LE(std::ssize(owners), cuda::result_room(plan, pass));
    ASSERT_FALSE(owners.empty());
    EXPECT_LT(owners.rbegin()->first, cuda::result_room(plan, pass));
    EXPECT_TRUE(pass.num_rows <= cuda::kMaxItemRows || std::ssize(owners) <= max_results);
    for (int32_t i = 0; i < pass.num_rows; ++i, ++index) {
      const cuda::SplitRow& row = rows[index];
      ASSERT_EQ(row.row, pass.first_row + i);
      const cuda::SplitResults& results = plan.results[index];
      const int32_t length = cuda::split_length(row.position + 1);
      int32_t key = 0;
      for (int32_t s = 0; s < results.count; ++s) {
        const auto& [item, r] = owners.at(results.first + s * results.stride);
        ASSERT_EQ(item.row + r, i);
        ASSERT_EQ(item.page_table_start, row.page_table_start);
        ASSERT_EQ(item.key_begin, key);
        key = std::min(item.key_end, item.last_position + 1 - (item.num_rows - 1 - r));
        ASSERT_EQ(key, std::min(row.position + 1, item.key_begin + length));
      }
      ASSERT_EQ(key, row.position + 1);
    }
  }
  EXPECT_EQ(index, rows.size());
  EXPECT_EQ(items_end, std::ssize(plan.items));
}

TEST(CudaSplitPlan, EveryKeyOfEveryRowIsTakenOnce) {
  const std::vector<std::vector<PlannedSegment>> batches = {
      {{0, 0, 0, 1}},
      {{0, 0, 255, 1}, {1, 9, 256, 1}, {2, 9, 255, 1}},
      {{0, 7, 0, 13}},
      {{0, 0, 253, 7}, {7, 40, 4090, 9}, {16, 90, 16380, 8}, {24, 1000, 163837, 3}},
      {{3, 0, 600, 2}, {9, 5, 30, 6}}};
  for (const auto& segments : batches) {
    const std::vector<cuda::SplitRow> rows = rows_of(segments);
    for (int64_t max_results : {1, 5, 40, 1 << 20})
      ASSERT_NO_FATAL_FAILURE(check_plan(rows, plan_of(rows, max_results), max_results));
  }
  EXPECT_TRUE(plan_of({}).passes.empty());
}

TEST(CudaSplitPlan, LengthsGrowWithTheContext) {
  EXPECT_EQ(cuda::split_length(1), 256);
  EXPECT_EQ(cuda::split_length(4096), 256);
  EXPECT_EQ(cuda::split_length(4097), 512);
  EXPECT_EQ(cuda::split_length(8192), 512);
  EXPECT_EQ(cuda::split_length(16385), 1024);
  EXPECT_EQ(cuda::split_length(163840), 2048);
  EXPECT_EQ(cuda::split_length(std::numeric_limits<int32_t>::max()), cuda::kMaxKeySplit);
}

// What the launches of a step depend on is the same over a range of contexts.
TEST(CudaSplitPlan, ItemsArePaddedToABucket) {
  EXPECT_EQ(cuda::item_bucket(0), 1);
  for (int32_t bucket : {1, 2, 3, 4, 6, 8, 12, 16, 24}) EXPECT_EQ(cuda::item_bucket(bucket), bucket);
  EXPECT_EQ(cuda::item_bucket(5), 6);
  EXPECT_EQ(cuda::item_bucket(7), 8);
  EXPECT_EQ(cuda::item_bucket(97), 128);
  const cuda::SplitPlan plan = plan_of(rows_of({{0, 0, 600, 1}, {1, 3, 500, 1}}));
  ASSERT_EQ(plan.items.size(), 6u);
  EXPECT_EQ(plan.passes[0].num_items, 6);
  EXPECT_EQ(plan.items[5].key_begin, plan.items[5].key_end);
}

TEST(CudaSplitPlan, NextTokensOfASequenceReadKeysTogether) {
  const cuda::SplitPlan plan = plan_of(rows_of({{0, 0, 300, 3}, {3, 9, 10, 1}}));
  EXPECT_EQ(plan.max_item_rows, 4);
  EXPECT_EQ(plan.items[0].num_rows, 3);
  EXPECT_EQ(plan.items[2].num_rows, 1);
  // Not where their splits differ, and not across segments.
  EXPECT_EQ(plan_of(rows_of({{0, 0, 4095, 2}})).max_item_rows, 1);
  EXPECT_EQ(plan_of(rows_of({{0, 0, 5, 1}, {1, 9, 6, 1}})).max_item_rows, 1);
}

struct AttentionSizes {
  int64_t num_heads, latent_dim, rope_dim, block_size;
};

// Rows at some positions of one sequence, the page table behind a gap of ids that do not exist.
class BatchFixture {
 public:
  BatchFixture(CacheKind kind, AttentionPrecision precision, AttentionSizes sizes,
               std::vector<int32_t> positions)
      : positions_(std::move(positions)),
        width_(sizes.latent_dim + sizes.rope_dim),
        values_(static_cast<uint64_t>(sizes.latent_dim)),
        cache_(values_, Data::kRandom, kind, sizes.latent_dim, sizes.rope_dim,
               *std::max_element(positions_.begin(), positions_.end()) + 1, sizes.block_size),
        q_(strided(values_, num_rows() * sizes.num_heads, width_, width_)),
        page_tables_(kGap, 1 << 20) {
    page_tables_.insert(page_tables_.end(), cache_.page_table.begin(), cache_.page_table.end());
    params_ = {.q = q_.data(),
               .page_tables = page_tables_.data(),
               .cache = cache_.view,
               .num_heads = sizes.num_heads,
               .scale = 3.0f / std::sqrt(static_cast<float>(width_)),
               .precision = precision};
  }
  struct Result {
    cuda::SplitPlan plan;
    std::vector<float> out, max, sum, y;
  };
  // Rows [begin, end).
  Result run(int64_t begin, int64_t end) const { return run(begin, end, params_.num_heads); }
  // The first heads alone, of row 0 alone.
  Result run(int64_t begin, int64_t end, int64_t num_heads) const {
    std::vector<cuda::SplitRow> rows;
    for (int64_t i = begin; i < end; ++i)
      rows.push_back({static_cast<int32_t>(i - begin), kGap, positions_[static_cast<size_t>(i)]});
    Result result{plan_of(rows), {}, {}, {}, {}};
    const cuda::SplitPass& pass = result.plan.passes.at(0);
    const auto heads = static_cast<size_t>(cuda::result_room(result.plan, pass) * num_heads);
    const auto latent_dim = static_cast<size_t>(params_.cache.latent_dim);
    result.out.assign(heads * latent_dim, kNaN);
    result.max.assign(heads, kNaN);
    result.sum.assign(heads, kNaN);
    result.y.assign(rows.size() * static_cast<size_t>(num_heads) * latent_dim, kNaN);
    cuda::AbsorbedBatchParams p = params_;
    p.q += begin * num_heads * width_;
    p.num_heads = num_heads;
    p.items = result.plan.items.data();
    p.num_items = pass.num_items;
    p.max_item_rows = result.plan.max_item_rows;
    p.out = result.out.data();
    p.max = result.max.data();
    p.sum = result.sum.data();
    EXPECT_EQ(absorbed_attention(p, nullptr), 0);
    EXPECT_EQ(merge_splits({.out = p.out,
                            .max = p.max,
                            .sum = p.sum,
                            .results = result.plan.results.data(),
                            .y = result.y.data(),
                            .num_rows = end - begin,
                            .num_heads = p.num_heads,
                            .latent_dim = p.cache.latent_dim},
                           nullptr),
              0);
    return result;
  }
  // Results of all rows.
  void compare(const Result& got, const std::string& what) const {
    for (const cuda::SplitItem& item : got.plan.items) {
      for (int32_t i = 0; i < item.num_rows; ++i)
        ASSERT_NO_FATAL_FAILURE(compare_split(got, item, i, what + " row " + std::to_string(item.row + i)));
    }
    for (int64_t i = 0; i < num_rows(); ++i) ASSERT_NO_FATAL_FAILURE(compare_merged(got, i, what));
  }
  int64_t num_rows() const { return static_cast<int64_t>(positions_.size()); }

 private:
  static constexpr int32_t kGap = 3;

  // A product of two factors has variance 1/9; a sum of W of them rounds W times.
  double score_error() const {
    const auto width = static_cast<double>(width_);
    return kEpsilon * (width + 16) * 6 * std::sqrt(width / 9) * params_.scale;
  }
  void compare_split(const Result& got, const cuda::SplitItem& item, int32_t row,
                     const std::string& what) const {
    const int64_t num_keys =
        std::min(item.key_end, item.last_position + 1 - (item.num_rows - 1 - row)) - item.key_begin;
    if (num_keys <= 0) return;
    const auto heads = static_cast<size_t>(params_.num_heads);
    const auto latent_dim = static_cast<size_t>(params_.cache.latent_dim);
    const auto i = static_cast<size_t>(item.first_result + row);
    std::vector<float> out(heads * latent_dim), max(heads), sum(heads);
    ref::absorbed_attention({.q = q_.data() + (item.row + row) * params_.num_heads * width_,
                             .page_table = cache_.page_table.data(),
                             .out = out.data(),
                             .max = max.data(),
                             .sum = sum.data(),
                             .cache = params_.cache,
                             .q_stride = width_,
                             .num_heads = params_.num_heads,
                             .key_begin = item.key_begin,
                             .key_end = item.key_begin + num_keys,
                             .scale = params_.scale,
                             .precision = params_.precision});
    const double plain = std::expm1(2 * score_error()) + static_cast<double>(num_keys + 32) * kEpsilon;
    const double rounding = weight_rounding() + static_cast<double>(num_keys) * 0x1p-25;
    for (size_t h = 0; h < heads; ++h) {
      ASSERT_NEAR(got.max[i * heads + h], max[h], score_error()) << what << " split " << i << " head " << h;
      ASSERT_NEAR(got.sum[i * heads + h], sum[h], sum[h] * plain) << what << " split " << i << " head " << h;
      for (size_t k = 0; k < latent_dim; ++k)
        ASSERT_NEAR(got.out[(i * heads + h) * latent_dim + k], out[h * latent_dim + k],
                    sum[h] * (plain + rounding))
            << what << " split " << i << " head " << h << " at " << k;
    }
  }
  // A weight is rounded relative to different maxima, which differs by up to twice the 16-bit type's own
  // error; below 2^-14 a float16's is 2^-25 at most.
  double weight_rounding() const {
    const bool is_half =
        params_.precision == AttentionPrecision::kFloat16 && params_.cache.dtype == DType::kFloat16;
    return params_.precision == AttentionPrecision::kFloat32 ? 0 : 2 * (is_half ? 0x1p-11 : kBf16Epsilon);
  }
  // The merge of the same splits; the sums' terms have one sign, the outputs' are at most the sums times 1.
  void compare_merged(const Result& got, int64_t row, const std::string& what) const {
    const cuda::SplitResults& results = got.plan.results[static_cast<size_t>(row)];
    const int64_t num_splits = results.count;
    const int64_t latent_dim = params_.cache.latent_dim, heads = params_.num_heads;
    std::vector<float> want(static_cast<size_t>(heads * latent_dim)), max, sum;
    for (int32_t s = 0; s < results.count; ++s) {
      const int64_t first = (results.first + s * results.stride) * heads;
      max.insert(max.end(), got.max.begin() + first, got.max.begin() + first + heads);
      sum.insert(sum.end(), got.sum.begin() + first, got.sum.begin() + first + heads);
    }
    ref::merge_splits({.out = got.out.data() + results.first * heads * latent_dim,
                       .max = max.data(),
                       .sum = sum.data(),
                       .y = want.data(),
                       .split_stride = results.stride * heads * latent_dim,
                       .num_splits = num_splits,
                       .num_heads = heads,
                       .latent_dim = latent_dim,
                       .end = heads});
    for (int64_t i = 0; i < heads * latent_dim; ++i)
      ASSERT_NEAR(got.y[static_cast<size_t>(row * heads * latent_dim + i)], want[static_cast<size_t>(i)],
                  (static_cast<double>(num_splits) + 8) * 4 * kEpsilon)
          << what << " row " << row << " at " << i;
  }

  std::vector<int32_t> positions_;
  int64_t width_;
  Values values_;
  CacheFixture cache_;
  std::vector<float> q_;
  std::vector<int32_t> page_tables_;
  cuda::AbsorbedBatchParams params_;
};

struct AttentionCase {
  AttentionSizes sizes;
  std::vector<int32_t> positions;
};
// Positions around tiles and splits, some of them neighbours. Tensor cores take what is a multiple of 8
// elements, of int8 caches 4 and 2.
const std::vector<AttentionCase>& attention_cases() {
  static const std::vector<AttentionCase> cases = {{{3, 48, 6, 16}, {0, 31, 256, 257, 258, 530}},
                                                   {{1, 13, 2, 7}, {3, 255}},
                                                   {{1, 24, 8, 5}, {0, 1, 2, 3, 30, 32, 63}},
                                                   {{17, 80, 16, 24}, {254, 255, 256, 257}},
                                                   {{16, 136, 48, 16}, {95, 256}},
                                                   {{40, 56, 24, 40}, {33, 64}},
                                                   {{128, 64, 8, 64}, {64}},
                                                   {{2, 512, 64, 128}, {40, 256}}};
  return cases;
}

std::vector<AttentionPrecision> precisions_of(const CacheKind& kind) {
  std::vector<AttentionPrecision> precisions = {AttentionPrecision::kFloat32};
  // Rotated keys in fp16 stay float32 beside bf16 queries; the reference does the same.
  if (takes_bf16_products(kind)) precisions.push_back(AttentionPrecision::kBFloat16);
  if (kind.rope_dtype == DType::kFloat16) precisions.push_back(AttentionPrecision::kFloat16);
  return precisions;
}

TEST(CudaAbsorbedAttention, EqualsReference) {
  for (const CacheKind& kind : kCacheKinds) {
    for (AttentionPrecision precision : precisions_of(kind)) {
      for (const auto& [sizes, positions] : attention_cases()) {
        const BatchFixture fixture(kind, precision, sizes, positions);
        ASSERT_NO_FATAL_FAILURE(
            fixture.compare(fixture.run(0, fixture.num_rows()),
                            std::string(dtype_name(kind.dtype)) + " R " + std::to_string(sizes.latent_dim)));
      }
    }
  }
}

TEST(CudaAbsorbedAttention, BitsDependOnTheRowAlone) {
  for (const CacheKind& kind : kCacheKinds) {
    for (AttentionPrecision precision : precisions_of(kind)) {
      for (int64_t num_heads : {3, 70}) {
        if (num_heads > 3 && precision == AttentionPrecision::kFloat32) continue;
        const BatchFixture fixture(kind, precision, {num_heads, 24, 8, 16}, {255, 256, 257, 7});
        const auto all = fixture.run(0, 4);
        set_thread_order(ThreadOrder::kBackward);
        EXPECT_EQ(fixture.run(0, 4).y, all.y);
        set_thread_order(ThreadOrder::kForward);
        const size_t row = all.y.size() / 4;
        for (int64_t i = 0; i < 4; ++i) {
          const auto begin = all.y.begin() + i * static_cast<int64_t>(row);
          EXPECT_EQ(fixture.run(i, i + 1).y, std::vector<float>(begin, begin + static_cast<int64_t>(row)));
        }
      }
    }
  }
}

// Blocks of 16, 32 and 64 heads.
TEST(CudaAbsorbedAttention, BitsDependOnTheHeadAlone) {
  for (const CacheKind& kind : kCacheKinds) {
    const AttentionPrecision precision = precisions_of(kind).back();
    const BatchFixture fixture(kind, precision, {70, 40, 8, 16}, {299});
    const auto all = fixture.run(0, 1);
    for (int64_t num_heads : {1, 16, 31, 64}) {
      const auto some = fixture.run(0, 1, num_heads);
      ASSERT_FALSE(some.y.empty());
      EXPECT_TRUE(std::equal(some.y.begin(), some.y.end(), all.y.begin())) << num_heads;
    }
  }
}

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
