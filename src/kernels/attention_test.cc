// Attention kernels against the scalar reference, in memory whose unwritten rows, gaps and scratch hold NaN.
//
// Tolerances. u = 2^-24 is the rounding of float32, b = 2^-8 that of bf16. Factors are uniform in [-1, 1], of
// variance 1/3; "six standard deviations" of a sum bound it and its partial sums. A score's error d changes a
// weight by the factor e^d; the weight and the maximum (or the sum) it is taken relative to give 2 d. Queries
// are rounded alike by kernel and reference. A weight is rounded to bf16 by both, relative to different
// maxima, which differs by up to 2 b.
#include "kernels/expanded_test_support.h"

namespace fathom::kernels {
namespace {

class AbsorbedFixture {
 public:
  AbsorbedFixture(CacheKind kind, AttentionPrecision precision, int64_t num_heads, int64_t latent_dim,
                  int64_t rope_dim, int64_t num_keys, int64_t block_size)
      : width_(latent_dim + rope_dim),
        values_(static_cast<uint64_t>(num_keys * 31 + latent_dim)),
        cache_(values_, Data::kRandom, kind, latent_dim, rope_dim, num_keys, block_size),
        q_(strided(values_, num_heads, width_, width_ + 3)) {
    params_ = {.q = q_.data(),
               .page_table = cache_.page_table.data(),
               .cache = cache_.view,
               .q_stride = width_ + 3,
               .num_heads = num_heads,
               .key_begin = 0,
               .key_end = num_keys,
               .scale = 3.0f / std::sqrt(static_cast<float>(width_)),
               .precision = precision};
  }
  struct Result {
    std::vector<float> out, max, sum;
  };
  // Heads [begin, end) over keys [key_begin, key_end).
  Result run(void (*kernel)(const AbsorbedAttentionParams&), int64_t begin, int64_t end, int64_t key_begin,
             int64_t key_end) {
    AbsorbedAttentionParams p = params_;
    p.q += begin * p.q_stride;
    p.num_heads = end - begin;
    p.key_begin = key_begin;
    p.key_end = key_end;
    const auto heads = static_cast<size_t>(p.num_heads);
    Result result{std::vector<float>(heads * static_cast<size_t>(p.cache.latent_dim) + 1, kNaN),
                  std::vector<float>(heads + 1, kNaN), std::vector<float>(heads + 1, kNaN)};
    Scratch scratch(absorbed_scratch_bytes(p.num_heads, p.cache.latent_dim, p.cache.rope_dim));
    p.out = result.out.data();
    p.max = result.max.data();
    p.sum = result.sum.data();
    p.scratch = scratch.data();
    kernel(p);
    EXPECT_TRUE(scratch.guard_is_whole());
    for (auto* written : {&result.out, &result.max, &result.sum}) {
      EXPECT_TRUE(std::isnan(written->back()));
      written->pop_back();
    }
    return result;
  }
  Result run(void (*kernel)(const AbsorbedAttentionParams&)) {
    return run(kernel, 0, params_.num_heads, 0, params_.key_end);
  }
  // A product of two factors has variance 1/9; a sum of W of them rounds W times. Rotated keys in fp16 may be
  // rounded to bf16: r independent errors.
  double score_error() const {
    const auto width = static_cast<double>(width_);
    const double largest = 6 * std::sqrt(width / 9);
    double error = kEpsilon * (width + 16) * largest;
    if (params_.precision == AttentionPrecision::kBFloat16 && cache_.view.rope_dtype == DType::kFloat16) {
      error += kBf16Epsilon * 6 * std::sqrt(static_cast<double>(cache_.view.rope_dim) / 9);
    }
    return error * params_.scale;
  }
  const AbsorbedAttentionParams& params() const { return params_; }

 private:
  int64_t width_;
  Values values_;
  CacheFixture cache_;
  std::vector<float> q_;
  AbsorbedAttentionParams params_;
};

void compare(const AbsorbedFixture& fixture, const AbsorbedFixture::Result& got,
             const AbsorbedFixture::Result& want, const std::string& what) {
  const AbsorbedAttentionParams& p = fixture.params();
  const double score_error = fixture.score_error();
  const int64_t num_keys = p.key_end - p.key_begin;
  const double tolerance = relative_tolerance(score_error, num_keys, p.precision);
  for (size_t h = 0; h < want.max.size(); ++h) {
    ASSERT_NEAR(got.max[h], want.max[h], score_error) << what << " head " << h;
    ASSERT_NEAR(got.sum[h], want.sum[h],
                want.sum[h] * relative_tolerance(score_error, num_keys, AttentionPrecision::kFloat32))
        << what << " head " << h;
    for (size_t i = 0; i < static_cast<size_t>(p.cache.latent_dim); ++i) {
      const size_t at = h * static_cast<size_t>(p.cache.latent_dim) + i;
      ASSERT_NEAR(got.out[at], want.out[at], want.sum[h] * tolerance) << what << " head " << h << " at " << i;
    }
  }
}

struct AbsorbedSizes {
  int64_t num_heads, latent_dim, rope_dim, block_size;
};

TEST(AbsorbedAttentionKernel, EqualsReference) {
  for (const NamedTable& named : fast_tables()) {
    for (const CacheKind& kind : kCacheKinds) {
      for (AttentionPrecision precision : precisions(named.table, kind)) {
        for (const AbsorbedSizes& sizes : {AbsorbedSizes{3, 48, 6, 16},
                                           {1, 13, 2, 7},
                                           {16, 32, 8, 16},
                                           {17, 80, 16, 24},
                                           {128, 16, 4, 64},
                                           {16, 512, 64, 16}}) {
          for (int64_t num_keys : {1, 2, 3, 15, 63, 64, 65, 127, 200, 255, 256}) {
            if (sizes.latent_dim == 512 && num_keys != 65) continue;  // the reference is slow
            AbsorbedFixture fixture(kind, precision, sizes.num_heads, sizes.latent_dim, sizes.rope_dim,
                                    num_keys, sizes.block_size);
            ASSERT_NO_FATAL_FAILURE(compare(fixture, fixture.run(named.table.absorbed_attention.run),
                                            fixture.run(ref::absorbed_attention),
                                            describe(named, kind, precision) + " heads " +
                                                std::to_string(sizes.num_heads) + " keys " +
                                                std::to_string(num_keys)));
          }
        }
      }
    }
  }
}

TEST(AbsorbedAttentionKernel, BitsDependOnTheHeadAlone) {
  for (const NamedTable& named : fast_tables()) {
    for (const CacheKind& kind : kCacheKinds) {
      for (AttentionPrecision precision : precisions(named.table, kind)) {
        const int64_t num_heads = 128, latent_dim = 56;
        AbsorbedFixture fixture(kind, precision, num_heads, latent_dim, 10, 130, 24);
        const auto kernel = named.table.absorbed_attention.run;
        const auto whole = fixture.run(kernel);
        for (auto [begin, end] : {std::pair<int64_t, int64_t>{0, 1}, {5, 8}, {3, 19}, {16, 33}, {100, 128}}) {
          const auto part = fixture.run(kernel, begin, end, 0, 130);
          const auto offset = static_cast<size_t>(begin);
          const auto same = [](const std::vector<float>& a, const float* b) {
            return std::memcmp(a.data(), b, a.size() * sizeof(float)) == 0;
          };
          ASSERT_TRUE(same(part.out, whole.out.data() + offset * static_cast<size_t>(latent_dim)) &&
                      same(part.max, whole.max.data() + offset) && same(part.sum, whole.sum.data() + offset))
              << describe(named, kind, precision) << " heads " << begin << " to " << end;
        }
      }
    }
  }
}

// Splits merged give the softmax over all keys.
TEST(MergeSplitsKernel, EqualsTheWhole) {
  for (const NamedTable& named : fast_tables()) {
    for (const CacheKind& kind : kCacheKinds) {
      for (AttentionPrecision precision : precisions(named.table, kind)) {
        for (int64_t num_keys : {1, 255, 256, 257, 512, 700}) {
          const int64_t num_heads = 5, latent_dim = 37;
          AbsorbedFixture fixture(kind, precision, num_heads, latent_dim, 6, num_keys, 48);
          const int64_t num_splits = (num_keys + kKeySplit - 1) / kKeySplit;
          const auto out_size = static_cast<size_t>(num_heads * latent_dim);
          const size_t split_stride = out_size + 3;
          std::vector<float> out(static_cast<size_t>(num_splits) * split_stride, kNaN), max, sum;
          for (int64_t s = 0; s < num_splits; ++s) {
            const auto split = fixture.run(named.table.absorbed_attention.run, 0, num_heads, s * kKeySplit,
                                           std::min(num_keys, (s + 1) * kKeySplit));
            std::copy(split.out.begin(), split.out.end(), out.data() + static_cast<size_t>(s) * split_stride);
            max.insert(max.end(), split.max.begin(), split.max.end());
            sum.insert(sum.end(), split.sum.begin(), split.sum.end());
          }
          std::vector<float> got(out_size, 0.25f), merged(got);
          MergeSplitsParams p{.out = out.data(),
                              .max = max.data(),
                              .sum = sum.data(),
                              .y = got.data(),
                              .split_stride = static_cast<int64_t>(split_stride),
                              .num_splits = num_splits,
                              .num_heads = num_heads,
                              .latent_dim = latent_dim,
                              .begin = 1,
                              .end = num_heads};
          named.table.merge_splits(p);
          p.y = merged.data();
          ref::merge_splits(p);
          const auto whole = fixture.run(ref::absorbed_attention);
          const double tolerance = relative_tolerance(fixture.score_error(), num_keys, precision);
          for (size_t i = 0; i < out_size; ++i) {
            const size_t h = i / static_cast<size_t>(latent_dim);
            // Latents are at most 1, so that y is: a few roundings a split, of both sums.
            ASSERT_NEAR(got[i], merged[i], kEpsilon * static_cast<double>(8 + 4 * num_splits));
            if (h == 0) {
              ASSERT_EQ(got[i], 0.25f);
            } else {
              ASSERT_NEAR(got[i], whole.out[i] / whole.sum[h], 2 * tolerance)
                  << describe(named, kind, precision) << " keys " << num_keys << " at " << i;
            }
          }
        }
      }
    }
  }
}

constexpr ExpandedSizes kSmall{24, 6, 10, 9, 8};

void compare(const NamedTable& named, CacheKind kind, DType format, AttentionPrecision precision,
             const ExpandedSizes& sizes, Segment segment) {
  ExpandedFixture fixture(kind, format, precision, sizes, segment);
  const auto got = fixture.run(named.table.expanded_attention.run);
  const auto want = fixture.run(ref::expanded_attention);
  const double tolerance = fixture.tolerance();
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], tolerance)
        << describe(named, kind, precision) << " kv_b " << dtype_name(format) << " R " << sizes.latent_dim
        << " first " << segment.first_position << " T " << segment.num_tokens << " at " << i;
  }
}

std::vector<DType> formats(AttentionPrecision precision) {
  if (precision == AttentionPrecision::kBFloat16) return {DType::kBFloat16};
  return {std::begin(kFloatTypes), std::end(kFloatTypes)};
}

TEST(ExpandedAttentionKernel, EqualsReference) {
  for (const NamedTable& named : fast_tables()) {
    for (const CacheKind& kind : kCacheKinds) {
      for (AttentionPrecision precision : precisions(named.table, kind)) {
        for (DType format : formats(precision)) {
          for (const Segment segment : {Segment{0, 1},
                                        {0, 2},
                                        {0, 7},
                                        {0, 64},
                                        {0, 65},
                                        {63, 1},
                                        {64, 3},
                                        {30, 100},
                                        {129, 1},
                                        {60, 9}}) {
            ASSERT_NO_FATAL_FAILURE(compare(named, kind, format, precision, kSmall, segment));
          }
          ASSERT_NO_FATAL_FAILURE(compare(named, kind, format, precision, {13, 2, 17, 33, 7}, {50, 31}));
          ASSERT_NO_FATAL_FAILURE(compare(named, kind, format, precision, {96, 32, 40, 64, 24}, {3, 70}));
        }
      }
    }
  }
}

TEST(ExpandedAttentionKernel, EqualsReferenceAtTheModelsSizes) {
  for (const NamedTable& named : fast_tables()) {
    for (const CacheKind& kind : kCacheKinds) {
      for (AttentionPrecision precision : precisions(named.table, kind)) {
        for (const Segment segment : {Segment{0, 1}, {60, 13}}) {
          ASSERT_NO_FATAL_FAILURE(
              compare(named, kind, DType::kBFloat16, precision, {512, 64, 128, 128, 16}, segment));
        }
      }
    }
  }
}

// Cutting a prompt into chunks changes no bit, though the cache behind a chunk is not written yet.
TEST(ExpandedAttentionKernel, ChunksEqualTheWhole) {
  for (const NamedTable& named : fast_tables()) {
    for (const CacheKind& kind : kCacheKinds) {
      for (AttentionPrecision precision : precisions(named.table, kind)) {
        for (int64_t first_position : {0, 37}) {
          constexpr int64_t kTokens = 150;
          ExpandedFixture fixture(kind, DType::kBFloat16, precision, kSmall, {first_position, kTokens});
          const auto kernel = named.table.expanded_attention.run;
          const auto whole = fixture.run(kernel);
          const auto written = fixture.cache().bytes;
          for (int64_t chunk : {1, 3, 16, 64, 71}) {
            auto parts = fixture.empty();
            for (int64_t first = 0; first < kTokens; first += chunk) {
              const int64_t end = std::min(first + chunk, kTokens);
              std::copy(written.begin(), written.end(), fixture.cache().bytes.begin());
              fixture.cache().poison_from(first_position + end);
              fixture.run(kernel, first, end, parts.data());
            }
            std::copy(written.begin(), written.end(), fixture.cache().bytes.begin());
            ASSERT_EQ(std::memcmp(parts.data(), whole.data(), whole.size() * sizeof(float)), 0)
                << describe(named, kind, precision) << " first " << first_position << " chunk " << chunk;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
