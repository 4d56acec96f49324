// Every linear kernel against the scalar reference on odd shapes. The int8 forms must agree bit for bit;
// tolerances of the others come from the number of roundings: a sum of n products in float errs by at most
// about n * 2^-24 times the sum of their magnitudes.
#include "kernels/test_support.h"

namespace fathom::kernels {
namespace {

using Output = LinearParams::Output;

struct Variant {
  InputForm form;
  DType format;
};
constexpr Variant kVariants[] = {
    {InputForm::kFloat32, DType::kFloat32}, {InputForm::kFloat32, DType::kBFloat16},
    {InputForm::kFloat32, DType::kFloat16}, {InputForm::kBFloat16, DType::kBFloat16},
    {InputForm::kInt8, DType::kInt8},       {InputForm::kInt8Pair, DType::kInt8},
};

bool is_exact(const Variant& variant) { return variant.format == DType::kInt8; }

std::string describe(const std::string& table, const Variant& variant, const LinearParams& p) {
  return table + " form " + std::to_string(static_cast<int>(variant.form)) + " format " +
         std::string(dtype_name(variant.format)) + " T " + std::to_string(p.num_tokens) + " K " +
         std::to_string(p.num_inputs) + " N " + std::to_string(p.num_outputs) + " output " +
         std::to_string(static_cast<int>(p.output));
}

// One product by a kernel and by the reference. Rows of y beyond num_outputs and rows that y_rows skips must
// stay as they were.
void compare(const NamedTable& named, const Variant& variant, int64_t num_tokens, int64_t num_inputs,
             int64_t num_outputs, Output output) {
  Values values(static_cast<uint64_t>(num_tokens * 1000003 + num_inputs * 1009 + num_outputs));
  const bool paired = output == Output::kSiluMul;
  TestMatrix matrix(values, num_outputs, num_inputs, variant.format,
                    paired ? PanelOrder::kGateUpPairs : PanelOrder::kPlain);
  const auto x = strided(values, num_tokens, num_inputs, num_inputs + 3);
  const TestRows rows(x, num_tokens, num_inputs, num_inputs + 3, variant.form, matrix.format,
                      named.table.int8_zero_point);
  const auto bias = strided(values, 1, num_outputs, num_outputs);
  const int64_t y_stride = num_outputs + 2;
  std::vector<int32_t> y_rows(static_cast<size_t>(num_tokens));
  for (int64_t t = 0; t < num_tokens; ++t)
    y_rows[static_cast<size_t>(t)] = static_cast<int32_t>(2 * (num_tokens - t) - 1);
  const auto y_weights = strided(values, 1, num_tokens, num_tokens);
  std::vector<float> got(static_cast<size_t>(2 * num_tokens * y_stride), 0.5f);
  std::vector<float> want = got;
  LinearParams p{.x = rows.bytes.data(),
                 .x_scales = rows.scales.data(),
                 .form = variant.form,
                 .int8_zero_point = named.table.int8_zero_point,
                 .x_stride = rows.stride,
                 .panels = matrix.data(),
                 .weight_scales = matrix.scales.data(),
                 .weight_sums = matrix.sums.data(),
                 .bias = !paired && num_tokens % 2 == 0 ? bias.data() : nullptr,
                 .format = matrix.format,
                 .y = got.data(),
                 .y_stride = y_stride,
                 .y_rows = num_inputs % 2 == 0 ? y_rows.data() : nullptr,
                 .y_weights = y_weights.data(),
                 .output = output,
                 .num_tokens = num_tokens,
                 .num_inputs = num_inputs,
                 .num_outputs = num_outputs,
                 .begin = matrix.num > 3 ? 2 : 0,
                 .end = matrix.num};
  named.table.linear(variant.form, p.format)(p);
  p.y = want.data();
  ref::linear(p);
  // Float inputs and weights are at most 1: the magnitudes sum to at most num_inputs; + bias and old value.
  // SiLU changes by at most 1.1 times its input's error and multiplies it by a value below num_inputs.
  const double sum_error = kEpsilon * static_cast<double>((num_inputs + 8) * (num_inputs + 2));
  const double tolerance = paired ? 8 * sum_error * static_cast<double>(num_inputs + 1) : sum_error;
  for (size_t i = 0; i < got.size(); ++i) {
    if (is_exact(variant) && !paired) {
      ASSERT_EQ(got[i], want[i]) << describe(named.name, variant, p) << " at " << i;
    } else if (is_exact(variant)) {
      ASSERT_NEAR(got[i], want[i], 16 * kEpsilon * (std::abs(want[i]) + 1))
          << describe(named.name, variant, p);
    } else {
      ASSERT_NEAR(got[i], want[i], tolerance) << describe(named.name, variant, p) << " at " << i;
    }
  }
}

TEST(LinearKernel, EqualsReference) {
  for (const NamedTable& named : fast_tables()) {
    for (const Variant& variant : kVariants) {
      for (int64_t num_tokens : {1, 2, 3, 5, 8, 17, 33, 67}) {
        for (int64_t num_inputs : {1, 7, 32, 64, 171}) {
          for (int64_t num_outputs : {1, 15, 16, 50, 97}) {
            for (Output output : {Output::kStore, Output::kAdd, Output::kAddWeighted, Output::kSiluMul}) {
              ASSERT_NO_FATAL_FAILURE(compare(named, variant, num_tokens, num_inputs, num_outputs, output));
            }
          }
        }
      }
    }
  }
}

// The largest sums that the family's widths can give: int32 must hold them.
TEST(LinearKernel, Int8SumsAreExactAtTheLargestWidths) {
  for (const NamedTable& named : fast_tables()) {
    for (InputForm form : {InputForm::kInt8, InputForm::kInt8Pair}) {
      const int64_t num_inputs = 12288, num_tokens = 3;
      const std::vector<float> x(static_cast<size_t>(num_tokens * num_inputs), 1.0f);
      Values values(1);
      TestMatrix matrix(values, 16, num_inputs, DType::kInt8);
      std::memset(matrix.data(), 127, static_cast<size_t>(panel_bytes(num_inputs, matrix.format)));
      for (auto& sum : matrix.sums) sum = 127 * 12288;
      const TestRows rows(x, num_tokens, num_inputs, num_inputs, form, matrix.format,
                          named.table.int8_zero_point);
      std::vector<float> got(48), want(48);
      LinearParams p{.x = rows.bytes.data(),
                     .x_scales = rows.scales.data(),
                     .form = form,
                     .int8_zero_point = named.table.int8_zero_point,
                     .x_stride = rows.stride,
                     .panels = matrix.data(),
                     .weight_scales = matrix.scales.data(),
                     .weight_sums = matrix.sums.data(),
                     .format = PanelFormat::kInt8,
                     .y = got.data(),
                     .y_stride = 16,
                     .num_tokens = num_tokens,
                     .num_inputs = num_inputs,
                     .num_outputs = 16,
                     .begin = 0,
                     .end = 1};
      named.table.linear_int8(p);
      p.y = want.data();
      ref::linear(p);
      EXPECT_EQ(got, want) << named.name;
      EXPECT_NEAR(want[0], 12288.0 * 127 * matrix.scales[0], 1e-2 * 12288);
    }
  }
}

// One token's result has the same bits alone, in any batch and for any cut of the outputs.
TEST(LinearKernel, BitsDependOnTheTokenAlone) {
  for (const NamedTable& named : fast_tables()) {
    for (const Variant& variant : kVariants) {
      for (Output output : {Output::kStore, Output::kSiluMul}) {
        const int64_t num_inputs = 203, num_outputs = 117, num_tokens = 71;
        const bool paired = output == Output::kSiluMul;
        Values values(7);
        TestMatrix matrix(values, num_outputs, num_inputs, variant.format,
                          paired ? PanelOrder::kGateUpPairs : PanelOrder::kPlain);
        const auto x = strided(values, num_tokens, num_inputs, num_inputs);
        const TestRows rows(x, num_tokens, num_inputs, num_inputs, variant.form, matrix.format,
                            named.table.int8_zero_point);
        const int64_t row_bytes = rows.stride * input_bytes(variant.form) * rows_per_token(variant.form);
        const auto run = [&](int64_t first, int64_t count, int64_t begin, int64_t end,
                             std::vector<float>& y) {
          named.table.linear(variant.form, matrix.format)({.x = rows.bytes.data() + first * row_bytes,
                                                           .x_scales = rows.scales.data() + first,
                                                           .form = variant.form,
                                                           .int8_zero_point = named.table.int8_zero_point,
                                                           .x_stride = rows.stride,
                                                           .panels = matrix.data(),
                                                           .weight_scales = matrix.scales.data(),
                                                           .weight_sums = matrix.sums.data(),
                                                           .format = matrix.format,
                                                           .y = y.data() + first * num_outputs,
                                                           .y_stride = num_outputs,
                                                           .output = output,
                                                           .num_tokens = count,
                                                           .num_inputs = num_inputs,
                                                           .num_outputs = num_outputs,
                                                           .begin = begin,
                                                           .end = end});
        };
        std::vector<float> whole(static_cast<size_t>(num_tokens * num_outputs));
        run(0, num_tokens, 0, matrix.num, whole);
        for (int64_t chunk : {1, 2, 3, 16, 40}) {
          for (int64_t cut : {2, 6}) {
            std::vector<float> parts(whole.size());
            for (int64_t t = 0; t < num_tokens; t += chunk) {
              const int64_t count = std::min(chunk, num_tokens - t);
              run(t, count, 0, cut, parts);
              run(t, count, cut, matrix.num, parts);
            }
            ASSERT_EQ(std::memcmp(parts.data(), whole.data(), whole.size() * sizeof(float)), 0)
                << named.name << " format " << dtype_name(variant.format) << " chunk " << chunk << " cut "
                << cut;
          }
        }
      }
    }
  }
}

TEST(PackPanels, TransposesAndPads) {
  // w[j, k] = 100 j + k as a [3, 5] matrix stored transposed.
  std::vector<float> transposed(15);
  for (int64_t j = 0; j < 3; ++j) {
    for (int64_t k = 0; k < 5; ++k)
      transposed[static_cast<size_t>(k * 3 + j)] = static_cast<float>(100 * j + k);
  }
  std::vector<float> panels(static_cast<size_t>(panel_bytes(5, PanelFormat::kFloat32)) / 4, kNaN);
  pack_panels({.source = transposed.data(),
               .panels = panels.data(),
               .format = PanelFormat::kFloat32,
               .rows = 3,
               .cols = 5,
               .source_row_stride = 1,
               .source_col_stride = 3,
               .begin = 0,
               .end = 1});
  for (int64_t j = 0; j < 16; ++j) {
    for (int64_t k = 0; k < 16; ++k) {
      const float want = j < 3 && k < 5 ? static_cast<float>(100 * j + k) : 0.0f;
      EXPECT_EQ(ref::load_packed(panels.data(), PanelFormat::kFloat32, 5, j, k), want) << j << " " << k;
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
