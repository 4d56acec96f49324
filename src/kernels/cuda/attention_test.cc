// Absorbed attention of many rows and splits on the emulated device against the scalar reference; tolerances
// as in kernels/attention_test.cc.
#include "kernels/attention_test_support.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/split_plan.h"

namespace fathom::kernels::cuda_emulated {
namespace {

TEST(CudaSplitPlan, SplitsDependOnTheRowsOwnPosition) {
  const std::vector<cuda::SplitRow> rows = {{4, 10, 0}, {5, 10, 255}, {6, 20, 256}, {0, 0, 600}};
  const cuda::SplitPlan plan = cuda::plan_splits(rows);
  EXPECT_EQ(plan.first_splits, (std::vector<int32_t>{0, 1, 2, 4, 7}));
  const auto ends = [&plan](size_t i) { return std::pair(plan.items[i].key_begin, plan.items[i].key_end); };
  EXPECT_EQ(ends(0), std::pair(0, 1));
  EXPECT_EQ(ends(1), std::pair(0, 256));
  EXPECT_EQ(ends(3), std::pair(256, 257));
  EXPECT_EQ(ends(6), std::pair(512, 601));
  EXPECT_EQ(plan.items[3].row, 6);
  EXPECT_EQ(plan.items[3].page_table_start, 20);
  EXPECT_EQ(cuda::plan_splits({}).first_splits, (std::vector<int32_t>{0}));
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
      rows.push_back({static_cast<int32_t>(i), kGap, positions_[static_cast<size_t>(i)]});
    Result result{cuda::plan_splits(rows), {}, {}, {}, {}};
    const size_t heads = result.plan.items.size() * static_cast<size_t>(num_heads);
    const auto latent_dim = static_cast<size_t>(params_.cache.latent_dim);
    result.out.assign(heads * latent_dim, kNaN);
    result.max.assign(heads, kNaN);
    result.sum.assign(heads, kNaN);
    result.y.assign(rows.size() * static_cast<size_t>(num_heads) * latent_dim, kNaN);
    cuda::AbsorbedBatchParams p = params_;
    p.num_heads = num_heads;
    p.items = result.plan.items.data();
    p.num_items = static_cast<int64_t>(result.plan.items.size());
    p.out = result.out.data();
    p.max = result.max.data();
    p.sum = result.sum.data();
    EXPECT_EQ(absorbed_attention(p, nullptr), 0);
    EXPECT_EQ(merge_splits({.out = p.out,
                            .max = p.max,
                            .sum = p.sum,
                            .first_splits = result.plan.first_splits.data(),
                            .y = result.y.data(),
                            .num_rows = end - begin,
                            .num_heads = p.num_heads,
                            .latent_dim = p.cache.latent_dim},
                           nullptr),
              0);
    return result;
  }
  void compare(const Result& got, const std::string& what) const {
    for (size_t i = 0; i < got.plan.items.size(); ++i) ASSERT_NO_FATAL_FAILURE(compare_split(got, i, what));
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
  void compare_split(const Result& got, size_t i, const std::string& what) const {
    const cuda::SplitItem& item = got.plan.items[i];
    const auto heads = static_cast<size_t>(params_.num_heads);
    const auto latent_dim = static_cast<size_t>(params_.cache.latent_dim);
    std::vector<float> out(heads * latent_dim), max(heads), sum(heads);
    ref::absorbed_attention({.q = q_.data() + item.row * params_.num_heads * width_,
                             .page_table = cache_.page_table.data(),
                             .out = out.data(),
                             .max = max.data(),
                             .sum = sum.data(),
                             .cache = params_.cache,
                             .q_stride = width_,
                             .num_heads = params_.num_heads,
                             .key_begin = item.key_begin,
                             .key_end = item.key_end,
                             .scale = params_.scale,
                             .precision = params_.precision});
    const double plain = std::expm1(2 * score_error()) + (item.key_end - item.key_begin + 32) * kEpsilon;
    const double rounding = weight_rounding() + (item.key_end - item.key_begin) * 0x1p-25;
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
    const int64_t first = got.plan.first_splits[static_cast<size_t>(row)];
    const int64_t num_splits = got.plan.first_splits[static_cast<size_t>(row) + 1] - first;
    const int64_t latent_dim = params_.cache.latent_dim, heads = params_.num_heads;
    std::vector<float> want(static_cast<size_t>(heads * latent_dim));
    ref::merge_splits({.out = got.out.data() + first * heads * latent_dim,
                       .max = got.max.data() + first * heads,
                       .sum = got.sum.data() + first * heads,
                       .y = want.data(),
                       .split_stride = heads * latent_dim,
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

// Tensor cores take what is a multiple of 8 elements, of int8 caches 4 and 2.
constexpr AttentionSizes kAttentionSizes[] = {{3, 48, 6, 16},   {1, 13, 2, 7},     {17, 80, 16, 24},
                                              {1, 24, 8, 5},    {16, 136, 48, 16}, {40, 56, 24, 40},
                                              {128, 64, 8, 64}, {2, 512, 64, 128}};

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
      for (const AttentionSizes& sizes : kAttentionSizes) {
        const bool wide = sizes.latent_dim == 512;
        const BatchFixture fixture(
            kind, precision, sizes,
            wide ? std::vector<int32_t>{40, 257} : std::vector<int32_t>{0, 3, 30, 32, 255, 256, 530});
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
      for (int64_t num_heads : {3, 20, 70}) {
        const BatchFixture fixture(kind, precision, {num_heads, 72, 16, 16}, {0, 300, 530, 7});
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
    const BatchFixture fixture(kind, precision, {70, 72, 16, 16}, {299});
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
