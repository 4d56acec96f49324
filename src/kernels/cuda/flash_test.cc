// Expanded attention on the emulated device, from the cache's rows to the output, against the scalar
// reference (tolerances in expanded_test_support.h), and bit for bit against itself in other chunks, batches,
// passes and thread orders.
#include <algorithm>

#include "kernels/cuda/flash_plan.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"
#include "kernels/expanded_test_support.h"

namespace fathom::kernels::cuda_emulated {
namespace {

constexpr double kFp16Epsilon = 0x1p-11;  // of rounding to fp16, at worst

// Latents are padded to whole tiles of every format.
constexpr int64_t kLatentStep = 64;

// What the expanded attention of a batch takes.
struct ExpansionInputs {
  DType dtype = DType::kFloat32;  // of the products
  const float* q = nullptr;       // [rows, heads, n + r]
  int64_t num_rows = 0;
  std::vector<const void*> panels;  // by head: its keys', then its values'
  const int32_t* page_tables = nullptr;
  std::vector<cuda::ExpandedSegment> segments;
  LatentCacheView cache;
  PanelFormat format = PanelFormat::kFloat32;
  int64_t nope_dim = 0, v_dim = 0;
  float scale = 0;
  int64_t heads_together = 1 << 20;
};

struct Expansion {
  std::vector<std::byte> latents, rope, expanded;
  std::vector<float> scales;
};

std::vector<std::byte> poisoned(int64_t bytes) {
  return std::vector<std::byte>(static_cast<size_t>(bytes), std::byte{0xff});
}

// The keys and values of heads [first, first + count) of a pass whose latents are gathered.
void expand(const ExpansionInputs& in, const cuda::ExpandedPass& pass, int64_t first, int64_t count,
            Expansion& expansion) {
  const int64_t element = in.dtype == DType::kFloat32 ? 4 : 2;
  const int64_t width = cuda::expanded_width(in.nope_dim, in.v_dim);
  const int64_t latent_dim = in.cache.latent_dim;
  const auto head_bytes = static_cast<size_t>(width / kPanelRows * panel_bytes(latent_dim, in.format));
  std::vector<std::byte> panels(static_cast<size_t>(count) * head_bytes);
  for (int64_t h = 0; h < count; ++h)
    std::memcpy(panels.data() + static_cast<size_t>(h) * head_bytes,
                in.panels[static_cast<size_t>(first + h)], head_bytes);
  expansion.expanded = poisoned(pass.num_keys * count * width * element);
  ASSERT_EQ(
      linear({.linear = {.x = expansion.latents.data(),
                         .x_scales = expansion.scales.data(),
                         .form = in.dtype == DType::kFloat32 ? InputForm::kFloat32 : InputForm::kBFloat16,
                         .x_stride = round_up(latent_dim, kLatentStep),
                         .panels = panels.data(),
                         .format = in.format,
                         .y = reinterpret_cast<float*>(expansion.expanded.data()),
                         .y_stride = count * width,
                         .num_tokens = pass.num_keys,
                         .num_inputs = latent_dim,
                         .num_outputs = count * width,
                         .end = count * width / kPanelRows},
              .float16_inputs = in.dtype == DType::kFloat16,
              .bfloat16_scales = in.dtype == DType::kBFloat16,
              .y_dtype = in.dtype},
             nullptr),
      0);
}

void run_pass(const ExpansionInputs& in, const cuda::ExpandedPlan& plan, const cuda::ExpandedPass& pass,
              float* out) {
  const auto num_heads = static_cast<int64_t>(in.panels.size());
  const int64_t element = in.dtype == DType::kFloat32 ? 4 : 2;
  const int64_t latent_stride = round_up(in.cache.latent_dim, kLatentStep);
  const int64_t rope_stride = cuda::padded_part(in.cache.rope_dim);
  Expansion expansion{.latents = poisoned(pass.num_keys * latent_stride * element),
                      .rope = poisoned(pass.num_keys * rope_stride * element),
                      .expanded = {},
                      .scales = std::vector<float>(static_cast<size_t>(pass.num_keys), kNaN)};
  ASSERT_EQ(gather_latents({.cache = in.cache,
                            .page_tables = in.page_tables,
                            .tiles = plan.key_tiles.data() + pass.key_tiles_begin,
                            .latents = expansion.latents.data(),
                            .scales = expansion.scales.data(),
                            .rope = expansion.rope.data(),
                            .latent_stride = latent_stride,
                            .rope_stride = rope_stride,
                            .num_tiles = pass.key_tiles_end - pass.key_tiles_begin,
                            .dtype = in.dtype},
                           nullptr),
            0);
  for (int64_t head = 0; head < num_heads; head += in.heads_together) {
    const int64_t count = std::min(in.heads_together, num_heads - head);
    ASSERT_NO_FATAL_FAILURE(expand(in, pass, head, count, expansion));
    ASSERT_EQ(expanded_attention({.q = in.q,
                                  .expanded = expansion.expanded.data(),
                                  .rope = expansion.rope.data(),
                                  .tiles = plan.query_tiles.data() + pass.query_tiles_begin,
                                  .out = out,
                                  .num_tiles = pass.query_tiles_end - pass.query_tiles_begin,
                                  .first_head = head,
                                  .num_heads = count,
                                  .all_heads = num_heads,
                                  .nope_dim = in.nope_dim,
                                  .rope_dim = in.cache.rope_dim,
                                  .v_dim = in.v_dim,
                                  .scale = in.scale,
                                  .dtype = in.dtype},
                                 nullptr),
              0);
  }
}

// [rows, heads, v]
std::vector<float> run_batch(const ExpansionInputs& in) {
  const cuda::ExpandedPlan plan = cuda::plan_expanded(in.segments);
  std::vector<float> out(static_cast<size_t>(in.num_rows * in.v_dim) * in.panels.size(), kNaN);
  for (const cuda::ExpandedPass& pass : plan.passes) run_pass(in, plan, pass, out.data());
  return out;
}

// One head of one sequence as the fixture describes it.
template <DType kDType>
void run_head(const ExpandedAttentionParams& p) {
  const int64_t query_dim = p.nope_dim + p.cache.rope_dim;
  std::vector<float> q;
  for (int64_t t = 0; t < p.num_tokens; ++t)
    q.insert(q.end(), p.q + t * p.q_stride, p.q + t * p.q_stride + query_dim);
  const int64_t panel = panel_bytes(p.cache.latent_dim, p.kv_b_format);
  std::vector<std::byte> panels(
      static_cast<size_t>(cuda::expanded_width(p.nope_dim, p.v_dim) / kPanelRows * panel));
  const auto key_bytes = static_cast<size_t>(num_panels(p.nope_dim) * panel);
  std::memcpy(panels.data(), p.key_panels, key_bytes);
  std::memcpy(panels.data() + key_bytes, p.value_panels, static_cast<size_t>(num_panels(p.v_dim) * panel));
  const std::vector<float> out = run_batch(
      {.dtype = kDType,
       .q = q.data(),
       .num_rows = p.num_tokens,
       .panels = {panels.data()},
       .page_tables = p.page_table,
       .segments = {{0, static_cast<int32_t>(p.num_tokens), static_cast<int32_t>(p.first_position), 0}},
       .cache = p.cache,
       .format = p.kv_b_format,
       .nope_dim = p.nope_dim,
       .v_dim = p.v_dim,
       .scale = p.scale});
  for (int64_t t = 0; t < p.num_tokens; ++t)
    std::copy_n(out.data() + t * p.v_dim, p.v_dim, p.out + t * p.out_stride);
}

struct ExpandedProducts {
  DType dtype;
  std::vector<CacheKind> caches;
  std::vector<DType> weights;
  void (*run)(const ExpandedAttentionParams&);
  AttentionPrecision precision;
};
const ExpandedProducts kExpandedProducts[] = {
    {DType::kFloat32,
     {std::begin(kCacheKinds), std::end(kCacheKinds)},
     {std::begin(kFloatTypes), std::end(kFloatTypes)},
     run_head<DType::kFloat32>,
     AttentionPrecision::kFloat32},
    {DType::kBFloat16,
     {{DType::kBFloat16, DType::kBFloat16}, {DType::kInt8, DType::kBFloat16}},
     {DType::kBFloat16},
     run_head<DType::kBFloat16>,
     AttentionPrecision::kBFloat16},
    {DType::kFloat16,
     {{DType::kFloat16, DType::kFloat16}, {DType::kInt8, DType::kFloat16}},
     {DType::kFloat16},
     run_head<DType::kFloat16>,
     AttentionPrecision::kFloat32},
};

// What fp16 adds where the reference rounds nothing: queries and keys are rounded, each an independent error
// of a score; so are values and weights, the latter twice, relative to a maximum.
double fp16_tolerance(const ExpandedFixture& fixture) {
  const double scores = 2 * kFp16Epsilon * 6;  // of deviation 1
  return fixture.largest_value() * (std::expm1(2 * scores) + 3 * kFp16Epsilon);
}

void compare_expanded(const ExpandedProducts& products, CacheKind kind, DType weights,
                      const ExpandedSizes& sizes, Segment segment) {
  ExpandedFixture fixture(kind, weights, products.precision, sizes, segment);
  const auto got = fixture.run(products.run);
  const auto want = fixture.run(ref::expanded_attention);
  const double tolerance =
      fixture.tolerance() + (products.dtype == DType::kFloat16 ? fp16_tolerance(fixture) : 0);
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance)
        << dtype_name(products.dtype) << " cache " << dtype_name(kind.dtype) << " kv_b "
        << dtype_name(weights) << " n " << sizes.nope_dim << " first " << segment.first_position << " T "
        << segment.num_tokens << " at " << i;
}

constexpr ExpandedSizes kSmallSizes{24, 6, 10, 9, 8};

TEST(CudaExpandedAttention, EqualsReference) {
  for (const ExpandedProducts& products : kExpandedProducts) {
    for (const CacheKind& kind : products.caches) {
      for (DType weights : products.weights) {
        for (const Segment segment : {Segment{0, 1}, {0, 65}, {63, 1}, {64, 3}, {30, 100}, {129, 1}})
          ASSERT_NO_FATAL_FAILURE(compare_expanded(products, kind, weights, kSmallSizes, segment));
        ASSERT_NO_FATAL_FAILURE(compare_expanded(products, kind, weights, {13, 2, 17, 33, 7}, {50, 31}));
        ASSERT_NO_FATAL_FAILURE(compare_expanded(products, kind, weights, {96, 32, 40, 64, 24}, {1, 70}));
      }
    }
  }
}

// The sizes of the models; of 130 tokens two tiles of queries; and heads that no form on tensor cores takes.
TEST(CudaExpandedAttention, EqualsReferenceAtOtherSizes) {
  for (const ExpandedProducts& products : kExpandedProducts) {
    for (const CacheKind& kind : products.caches) {
      const DType weights = products.weights.back();
      ASSERT_NO_FATAL_FAILURE(compare_expanded(products, kind, weights, {512, 64, 128, 128, 16}, {60, 13}));
      ASSERT_NO_FATAL_FAILURE(compare_expanded(products, kind, weights, {64, 16, 96, 80, 16}, {0, 130}));
      ASSERT_NO_FATAL_FAILURE(compare_expanded(products, kind, weights, {40, 8, 200, 20, 16}, {2, 5}));
      ASSERT_NO_FATAL_FAILURE(compare_expanded(products, kind, weights, {40, 8, 20, 131, 16}, {2, 5}));
    }
  }
}

// The cache behind a chunk is not written yet.
TEST(CudaExpandedAttention, ChunksEqualTheWhole) {
  for (const ExpandedProducts& products : kExpandedProducts) {
    for (const CacheKind& kind : products.caches) {
      constexpr int64_t kTokens = 105, kFirst = 33;  // a warp whose last row alone sees the second tile
      ExpandedFixture fixture(kind, products.weights.back(), products.precision, kSmallSizes,
                              {kFirst, kTokens});
      const auto whole = fixture.run(products.run);
      const auto written = fixture.cache().bytes;
      for (int64_t chunk : {29, 64}) {
        auto parts = fixture.empty();
        for (int64_t first = 0; first < kTokens; first += chunk) {
          const int64_t end = std::min(first + chunk, kTokens);
          fixture.cache().poison_from(kFirst + end);
          fixture.run(products.run, first, end, parts.data());
          std::copy(written.begin(), written.end(), fixture.cache().bytes.begin());
        }
        EXPECT_TRUE(parts == whole) << dtype_name(products.dtype) << " chunk " << chunk;
      }
    }
  }
}

// Three sequences in one cache, three heads.
struct ExpandedBatch {
  ExpandedBatch(DType chosen, const ExpandedSizes& sizes)
      : values(7),
        cache(values, Data::kRandom, {chosen, chosen}, sizes.latent_dim, sizes.rope_dim, 450,
              sizes.block_size),
        q(strided(values, kRows, kHeads * (sizes.nope_dim + sizes.rope_dim),
                  kHeads * (sizes.nope_dim + sizes.rope_dim))) {
    const int64_t width = cuda::expanded_width(sizes.nope_dim, sizes.v_dim);
    for (int64_t h = 0; h < kHeads; ++h) matrices.emplace_back(values, width, sizes.latent_dim, chosen);
    in = {.dtype = chosen,
          .q = q.data(),
          .num_rows = kRows,
          .panels = {},
          .page_tables = cache.page_table.data(),
          .segments = {{0, 3, 0, 0}, {3, 140, 20, 9}, {150, 5, 130, 4}},
          .cache = cache.view,
          .format = matrices[0].format,
          .nope_dim = sizes.nope_dim,
          .v_dim = sizes.v_dim,
          .scale = 0.25f};
    for (TestMatrix& matrix : matrices) in.panels.push_back(matrix.data());
  }
  static constexpr int64_t kRows = 155, kHeads = 3;
  Values values;
  CacheFixture cache;
  std::vector<float> q;
  std::vector<TestMatrix> matrices;
  ExpansionInputs in;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(CudaExpandedAttention, BitsDependOnTheRowAlone) {
  for (DType dtype : kFloatTypes) {
    const ExpandedBatch fixture(dtype, {40, 6, 20, 13, 16});
    const std::vector<float> whole = run_batch(fixture.in);
    const auto row = static_cast<size_t>(ExpandedBatch::kHeads * fixture.in.v_dim);
    for (size_t i = 0; i < whole.size(); ++i)
      ASSERT_EQ(std::isnan(whole[i]), i / row >= 143 && i / row < 150) << dtype_name(dtype) << " at " << i;
    set_thread_order(ThreadOrder::kBackward);
    EXPECT_TRUE(same_bits(run_batch(fixture.in), whole)) << dtype_name(dtype) << " backward";
    set_thread_order(ThreadOrder::kForward);
    ExpansionInputs in = fixture.in;
    in.heads_together = 2;
    EXPECT_TRUE(same_bits(run_batch(in), whole)) << dtype_name(dtype) << " two heads";
    for (const cuda::ExpandedSegment& segment : fixture.in.segments) {
      in.segments = {segment};
      const std::vector<float> alone = run_batch(in);
      const auto begin = static_cast<size_t>(segment.first_row) * row;
      const size_t bytes = static_cast<size_t>(segment.num_rows) * row * sizeof(float);
      EXPECT_EQ(std::memcmp(alone.data() + begin, whole.data() + begin, bytes), 0) << dtype_name(dtype);
    }
  }
}

// Beside queries of the same tile that are not finite.
TEST(CudaExpandedAttention, LaterQueriesAreNotSeen) {
  for (DType dtype : kFloatTypes) {
    ExpandedBatch fixture(dtype, {40, 6, 20, 13, 16});
    fixture.in.segments = {{0, 100, 0, 0}};
    const std::vector<float> whole = run_batch(fixture.in);
    constexpr int64_t kFinite = 70;
    const int64_t query = ExpandedBatch::kHeads * (fixture.in.nope_dim + fixture.in.cache.rope_dim);
    std::fill(fixture.q.begin() + kFinite * query, fixture.q.end(), kNaN);
    const std::vector<float> got = run_batch(fixture.in);
    const auto outputs = static_cast<size_t>(kFinite * ExpandedBatch::kHeads * fixture.in.v_dim);
    EXPECT_EQ(std::memcmp(got.data(), whole.data(), outputs * sizeof(float)), 0) << dtype_name(dtype);
    EXPECT_TRUE(std::isnan(got[outputs])) << dtype_name(dtype);
  }
}

TEST(CudaFlashPlan, TilesOfKeysAndQueries) {
  using cuda::ExpandedSegment;
  const ExpandedSegment segments[] = {{5, 130, 60, 10}, {135, 1, 0, 30}};
  const cuda::ExpandedPlan plan = cuda::plan_expanded(segments);
  ASSERT_EQ(plan.passes.size(), 1u);
  EXPECT_EQ(plan.passes[0].num_keys, 191);
  ASSERT_EQ(plan.key_tiles.size(), 4u);
  EXPECT_EQ(plan.key_tiles[2].first_position, 128);
  EXPECT_EQ(plan.key_tiles[2].num_keys, 62);
  EXPECT_EQ(plan.key_tiles[2].first_row, 128);
  EXPECT_EQ(plan.key_tiles[3].page_table_start, 30);
  EXPECT_EQ(plan.key_tiles[3].first_row, 190);
  // The tile that sees the most keys comes first.
  ASSERT_EQ(plan.query_tiles.size(), 3u);
  EXPECT_EQ(plan.query_tiles[0].first_row, 133);
  EXPECT_EQ(plan.query_tiles[0].num_rows, 2);
  EXPECT_EQ(plan.query_tiles[0].first_position, 188);
  EXPECT_EQ(plan.query_tiles[1].first_row, 5);
  EXPECT_EQ(plan.query_tiles[1].num_rows, 128);
  EXPECT_EQ(plan.query_tiles[2].first_key, 190);
  EXPECT_TRUE(cuda::plan_expanded({}).passes.empty());
}

TEST(CudaFlashPlan, PassesAreBounded) {
  const auto keys = static_cast<int32_t>(cuda::kPassKeys);
  const cuda::ExpandedSegment segments[] = {
      {0, 8, keys - 108, 0}, {8, 100, 0, 0}, {108, 1, 0, 0}, {109, 1, 2 * keys, 0}};
  const cuda::ExpandedPlan plan = cuda::plan_expanded(segments);
  ASSERT_EQ(plan.passes.size(), 3u);
  EXPECT_EQ(plan.passes[0].num_keys, keys);
  EXPECT_EQ(plan.passes[1].num_keys, 1);
  EXPECT_EQ(plan.passes[2].num_keys, 2 * keys + 1);
  EXPECT_EQ(plan.passes[1].query_tiles_begin, plan.passes[0].query_tiles_end);
  EXPECT_EQ(plan.passes[2].key_tiles_begin, plan.passes[1].key_tiles_end);
  EXPECT_EQ(plan.key_tiles.back().first_row, 2 * keys);
  // 512 bytes a key and head: 64k keys of 8 heads are 256 MiB.
  EXPECT_EQ(cuda::heads_together(keys, 512, 128), 8);
  EXPECT_EQ(cuda::heads_together(keys + 1, 512, 128), 7);
  EXPECT_EQ(cuda::heads_together(1000, 512, 16), 16);
  EXPECT_EQ(cuda::heads_together(int64_t{100} * keys, 512, 16), 1);
}

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
