// Shared by the tests of expanded attention: one head of one sequence, and the tolerances of
// attention_test.cc.
#pragma once

#include "kernels/attention_test_support.h"

namespace fathom::kernels {

// What |out - reference| may be relative to the largest value.
inline double relative_tolerance(double score_error, int64_t num_keys, AttentionPrecision precision) {
  const double weight_error = precision == AttentionPrecision::kBFloat16 ? 2 * kBf16Epsilon : 0;
  return std::expm1(2 * score_error) + weight_error + static_cast<double>(num_keys + 32) * kEpsilon;
}

struct ExpandedSizes {
  int64_t latent_dim, rope_dim, nope_dim, v_dim, block_size;
};

struct Segment {
  int64_t first_position, num_tokens;
};

// With bf16 products the data are eighths: expanded keys and values are then exact before they are rounded,
// and the same in any order of summation.
class ExpandedFixture {
 public:
  ExpandedFixture(CacheKind kind, DType kv_b_format, AttentionPrecision precision, const ExpandedSizes& sizes,
                  Segment segment)
      : kind_(kind),
        sizes_(sizes),
        data_(precision == AttentionPrecision::kBFloat16 ? Data::kEighths : Data::kRandom),
        values_(static_cast<uint64_t>(segment.first_position * 1000 + segment.num_tokens)),
        cache_(values_, data_, kind, sizes.latent_dim, sizes.rope_dim,
               segment.first_position + segment.num_tokens, sizes.block_size),
        q_(strided(values_, segment.num_tokens, sizes.nope_dim + sizes.rope_dim,
                   sizes.nope_dim + sizes.rope_dim + 3)),
        keys_(panels(sizes.nope_dim, kv_b_format)),
        values_panels_(panels(sizes.v_dim, kv_b_format)) {
    params_ = {.q = q_.data(),
               .key_panels = keys_.data(),
               .value_panels = values_panels_.data(),
               .page_table = cache_.page_table.data(),
               .cache = cache_.view,
               .q_stride = sizes.nope_dim + sizes.rope_dim + 3,
               .out_stride = sizes.v_dim + 2,
               .num_tokens = segment.num_tokens,
               .first_position = segment.first_position,
               .nope_dim = sizes.nope_dim,
               .v_dim = sizes.v_dim,
               .scale = static_cast<float>(1 / score_deviation()),
               .kv_b_format = panel_format(kv_b_format),
               .precision = precision};
  }
  // Tokens [begin, end) of the segment as a segment of their own.
  void run(void (*kernel)(const ExpandedAttentionParams&), int64_t begin, int64_t end, float* out) {
    ExpandedAttentionParams p = params_;
    Scratch scratch(expanded_scratch_bytes(end - begin, sizes_.latent_dim, sizes_.rope_dim, sizes_.nope_dim,
                                           sizes_.v_dim));
    p.scratch = scratch.data();
    p.q += begin * p.q_stride;
    p.out = out + begin * p.out_stride;
    p.first_position += begin;
    p.num_tokens = end - begin;
    kernel(p);
    EXPECT_TRUE(scratch.guard_is_whole());
  }
  std::vector<float> run(void (*kernel)(const ExpandedAttentionParams&)) {
    auto out = empty();
    run(kernel, 0, params_.num_tokens, out.data());
    return out;
  }
  std::vector<float> empty() const {
    return std::vector<float>(static_cast<size_t>(params_.num_tokens * params_.out_stride), 0.25f);
  }
  // Of a raw score: a key is a sum of R products, of variance R / 9.
  double score_deviation() const {
    const auto r = static_cast<double>(sizes_.latent_dim);
    return std::sqrt(static_cast<double>(sizes_.nope_dim) * r / 27 +
                     static_cast<double>(sizes_.rope_dim) / 9);
  }
  double largest_value() const { return 6 * std::sqrt(static_cast<double>(sizes_.latent_dim) / 9); }
  // Keys and values round R times, n key errors are independent, a score rounds n + r times.
  double tolerance() const {
    const auto latent = static_cast<double>(sizes_.latent_dim), nope = static_cast<double>(sizes_.nope_dim);
    const double value_error = kEpsilon * (latent + 8);
    const double key_errors = 6 * std::sqrt(nope / 3) * value_error * largest_value();
    const double sum_error =
        kEpsilon * static_cast<double>(sizes_.nope_dim + sizes_.rope_dim + 16) * 6 * score_deviation();
    const int64_t keys = params_.first_position + params_.num_tokens;
    // The only weight of a single key is 1, exact in bf16 too.
    const auto precision = keys == 1 ? AttentionPrecision::kFloat32 : params_.precision;
    return largest_value() *
           (value_error + relative_tolerance((key_errors + sum_error) * params_.scale, keys, precision));
  }
  CacheFixture& cache() { return cache_; }
  const ExpandedAttentionParams& params() const { return params_; }

 private:
  TestMatrix panels(int64_t rows, DType format) {
    TestMatrix matrix(values_, rows, sizes_.latent_dim, format);
    if (data_ == Data::kEighths) {
      const int64_t count = matrix.num * panel_bytes(sizes_.latent_dim, matrix.format) / 2;
      for (int64_t i = 0; i < count; ++i) {
        const float value = ref::load_element(matrix.data(), format, i);
        ref::store_element(matrix.data(), format, i, std::nearbyint(value * 8) / 8);
      }
    }
    return matrix;
  }

  CacheKind kind_;
  ExpandedSizes sizes_;
  Data data_;
  Values values_;
  CacheFixture cache_;
  std::vector<float> q_;
  TestMatrix keys_, values_panels_;
  ExpandedAttentionParams params_;
};

}  // namespace fathom::kernels
