// Rotation of queries and storing of latents against the scalar reference.
#include "kernels/attention_test_support.h"

namespace fathom::kernels {
namespace {

TEST(RopeQueryKernel, EqualsReference) {
  for (const NamedTable& named : fast_tables()) {
    for (int64_t rope_dim : {2, 6, 8, 16, 34, 64}) {
      for (int64_t num_heads : {1, 3, 16}) {
        const int64_t num_tokens = 5, nope_dim = 7;
        Values values(static_cast<uint64_t>(rope_dim));
        const Rotation rotation(values, num_tokens, rope_dim);
        const auto q = strided(values, num_tokens * num_heads, nope_dim + rope_dim, nope_dim + rope_dim);
        auto got = q, want = q;
        RopeQueryParams p{.q = got.data(),
                          .positions = rotation.positions.data(),
                          .cos_table = rotation.cosines.data(),
                          .sin_table = rotation.sines.data(),
                          .num_heads = num_heads,
                          .nope_dim = nope_dim,
                          .rope_dim = rope_dim,
                          .begin = 1,
                          .end = 4};
        named.table.rope_query(p);
        p.q = want.data();
        ref::rope_query(p);
        for (size_t i = 0; i < q.size(); ++i) {
          // Two products and a sum, none above 2, fused or not.
          ASSERT_NEAR(got[i], want[i], 6 * kEpsilon) << named.name << " r " << rope_dim << " at " << i;
          if (want[i] == q[i]) {
            ASSERT_EQ(got[i], q[i]);  // not rotated
          }
        }
      }
    }
  }
}

struct Widths {
  int64_t latent_dim, rope_dim;
};
constexpr Widths kWidths[] = {{13, 2}, {32, 8}, {48, 6}, {64, 34}, {512, 64}};

class StoreFixture {
 public:
  static constexpr int64_t kTokens = 6;
  static constexpr uint8_t kUntouched = 0xab;

  StoreFixture(CacheKind kind, Widths widths)
      : widths_(widths),
        kind_(kind),
        values_(static_cast<uint64_t>(widths.latent_dim)),
        rotation_(values_, kTokens, widths.rope_dim),
        kv_a(strided(values_, kTokens, widths.latent_dim + widths.rope_dim,
                     widths.latent_dim + widths.rope_dim)),
        norm_weight(strided(values_, 1, widths.latent_dim, widths.latent_dim)) {}

  std::vector<uint8_t> run(void (*kernel)(const StoreLatentParams&), float eps) {
    std::vector<uint8_t> bytes(static_cast<size_t>(16 * row_bytes()), kUntouched);
    kernel({.kv_a = kv_a.data(),
            .norm_weight = norm_weight.data(),
            .positions = rotation_.positions.data(),
            .slots = slots_.data(),
            .cos_table = rotation_.cosines.data(),
            .sin_table = rotation_.sines.data(),
            .cache = view(bytes),
            .eps = eps,
            .begin = 1,
            .end = kTokens - 1});
    return bytes;
  }
  int64_t row_bytes() const { return latent_row_bytes(kind_.dtype, widths_.latent_dim, widths_.rope_dim); }
  // Bytes of the latent in a row.
  int64_t latent_bytes() const { return widths_.latent_dim * static_cast<int64_t>(dtype_bytes(kind_.dtype)); }
  LatentCacheView view(std::vector<uint8_t>& bytes) const {
    return {.data = bytes.data(),
            .dtype = kind_.dtype,
            .rope_dtype = kind_.rope_dtype,
            .latent_dim = widths_.latent_dim,
            .rope_dim = widths_.rope_dim,
            .block_size = 4};
  }
  int64_t slot(int64_t t) const { return slots_[static_cast<size_t>(t)]; }
  float& input(int64_t t, int64_t i) {
    return kv_a[static_cast<size_t>(t * (widths_.latent_dim + widths_.rope_dim) + i)];
  }

 private:
  Widths widths_;
  CacheKind kind_;
  Values values_;
  Rotation rotation_;
  std::vector<int64_t> slots_ = {3, 0, 9, 15, 7, 4};

 public:
  std::vector<float> kv_a, norm_weight;
};

// Half a unit in the last place of each element, twice: kernel and reference may round to different sides.
double storage_error(DType dtype, double value, double int8_scale) {
  switch (dtype) {
    case DType::kBFloat16:
      return 2 * kBf16Epsilon * std::abs(value);
    case DType::kFloat16:
      return 0x1p-10 * std::abs(value) + 0x1p-24;
    case DType::kInt8:
      return int8_scale;
    default:
      return 0;
  }
}

TEST(StoreLatentKernel, EqualsReference) {
  for (const NamedTable& named : fast_tables()) {
    for (const CacheKind& kind : kCacheKinds) {
      for (const Widths& widths : kWidths) {
        StoreFixture fixture(kind, widths);
        auto got = fixture.run(named.table.store_latent.run, 1e-6f);
        auto want = fixture.run(ref::store_latent, 1e-6f);
        const auto got_view = fixture.view(got), want_view = fixture.view(want);
        for (int64_t slot = 0; slot < 16; ++slot) {
          const bool written = slot == fixture.slot(1) || slot == fixture.slot(2) ||
                               slot == fixture.slot(3) || slot == fixture.slot(4);
          if (!written) {
            const auto row = got.begin() + slot * fixture.row_bytes();
            ASSERT_TRUE(std::all_of(row, row + fixture.row_bytes(),
                                    [](uint8_t byte) { return byte == StoreFixture::kUntouched; }));
            continue;
          }
          for (int64_t i = 0; i < widths.latent_dim + widths.rope_dim; ++i) {
            const double value = ref::load_cached(want_view, slot, i);
            const bool is_latent = i < widths.latent_dim;
            // A normalised value is at most sqrt(R) and has the error of a sum of R squares; the largest of
            // int8's row is 127 scales.
            const double largest = std::sqrt(static_cast<double>(widths.latent_dim));
            const double float_error =
                is_latent ? kEpsilon * static_cast<double>(widths.latent_dim + 16) * largest : 6 * kEpsilon;
            const double stored = storage_error(is_latent ? kind.dtype : kind.rope_dtype,
                                                std::abs(value) + float_error, 1.01 * largest / kInt8Limit);
            ASSERT_NEAR(ref::load_cached(got_view, slot, i), value, 2 * float_error + stored)
                << named.name << " " << dtype_name(kind.dtype) << " R " << widths.latent_dim << " slot "
                << slot << " at " << i;
          }
        }
      }
    }
  }
}

// Inputs of one magnitude, a power of two, have an exact norm: every byte of the latent and int8's scale
// follow.
TEST(StoreLatentKernel, EqualsReferenceInEveryBitGivenTheNorm) {
  for (const NamedTable& named : fast_tables()) {
    for (const CacheKind& kind : kCacheKinds) {
      for (const Widths& widths : kWidths) {
        StoreFixture fixture(kind, widths);
        for (float& x : fixture.kv_a) x = x < 0 ? -0.5f : 0.5f;
        // The magnitudes of fp16's subnormal numbers too, and zeros.
        for (size_t i = 0; i < fixture.norm_weight.size(); ++i) {
          if (i % 3 == 1) fixture.norm_weight[i] *= 0x1p-16f;
          if (i % 7 == 2) fixture.norm_weight[i] = 0;
        }
        const auto got = fixture.run(named.table.store_latent.run, 0);
        const auto want = fixture.run(ref::store_latent, 0);
        for (int64_t slot = 0; slot < 16; ++slot) {
          const auto offset = static_cast<size_t>(slot * fixture.row_bytes());
          const auto differs = [&](int64_t from, int64_t count) {
            const size_t at = offset + static_cast<size_t>(from);
            return std::memcmp(got.data() + at, want.data() + at, static_cast<size_t>(count)) != 0;
          };
          const int64_t tail = kind.dtype == DType::kInt8 ? 4 : 0;
          ASSERT_FALSE(differs(0, fixture.latent_bytes()) || differs(fixture.row_bytes() - tail, tail))
              << named.name << " " << dtype_name(kind.dtype) << " R " << widths.latent_dim << " slot "
              << slot;
        }
      }
    }
  }
}

TEST(StoreLatentKernel, SpecialValues) {
  for (const NamedTable& named : fast_tables()) {
    for (const CacheKind& kind : kCacheKinds) {
      const Widths widths{48, 6};
      StoreFixture fixture(kind, widths);
      for (int64_t i = 0; i < widths.latent_dim; ++i) fixture.input(1, i) = 0;
      fixture.input(2, 17) = kNaN;
      for (int64_t i = 0; i < widths.rope_dim; ++i) fixture.input(3, widths.latent_dim + i) = 1e6f;
      fixture.input(4, 5) = std::numeric_limits<float>::infinity();
      auto got = fixture.run(named.table.store_latent.run, 1e-6f);
      auto want = fixture.run(ref::store_latent, 1e-6f);
      const auto got_view = fixture.view(got), want_view = fixture.view(want);
      for (int64_t t = 1; t < 5; ++t) {
        for (int64_t i = 0; i < widths.latent_dim + widths.rope_dim; ++i) {
          const float a = ref::load_cached(got_view, fixture.slot(t), i);
          const float b = ref::load_cached(want_view, fixture.slot(t), i);
          ASSERT_EQ(std::isnan(a), std::isnan(b)) << named.name << " token " << t << " at " << i;
          if (t == 1 && i < widths.latent_dim) {
            ASSERT_EQ(a, b);
          }
          if (t == 3 && i >= widths.latent_dim) {
            ASSERT_NEAR(a, b, 2e6 * (6 * kEpsilon) + storage_error(kind.rope_dtype, b, 0));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
