// Products with int4 weights: bit for bit those of the scalar reference on the packed int4, and those of the
// int8 kernel with weights factor * q.
#include <bit>

#include "kernels/test_support.h"

namespace fathom::kernels {
namespace {

using Output = LinearParams::Output;

// Rows of q and of factors, as a checkpoint stores them, and the weights they mean.
struct Int4Source {
  template <typename NextQ, typename NextFactor>
  Int4Source(int64_t rows, int64_t cols, int64_t group_size, const NextQ& next_q,
             const NextFactor& next_factor)
      : nibbles(static_cast<size_t>(rows * cols / 2)) {
    const int64_t groups = (cols + group_size - 1) / group_size;
    for (int64_t i = 0; i < rows * groups; ++i) factors.push_back(static_cast<uint8_t>(next_factor()));
    for (int64_t i = 0; i < rows * cols; ++i) {
      const auto q = static_cast<int>(next_q());
      const int factor = factors[static_cast<size_t>(i / cols * groups + i % cols / group_size)];
      int8.push_back(static_cast<int8_t>(factor * q));
      auto& byte = nibbles[static_cast<size_t>(i / 2)];
      byte = static_cast<uint8_t>(byte | (q & 15) << (i % 2 * 4));
    }
  }
  std::vector<uint8_t> nibbles, factors;
  std::vector<int8_t> int8;
};

// The same matrix as int4 and as int8 panels.
struct Int4Matrix {
  template <typename NextQ, typename NextFactor>
  Int4Matrix(int64_t num_rows, int64_t num_cols, int64_t group_size, PanelOrder order, const NextQ& next_q,
             const NextFactor& next_factor)
      : rows(num_rows), cols(num_cols), num(num_panels(rows) * (order == PanelOrder::kGateUpPairs ? 2 : 1)) {
    const Int4Source first(rows, cols, group_size, next_q, next_factor);
    const Int4Source second(rows, cols, group_size, next_q, next_factor);
    PackParams pack{.source = first.nibbles.data(),
                    .second = second.nibbles.data(),
                    .factors = first.factors.data(),
                    .second_factors = second.factors.data(),
                    .format = PanelFormat::kInt4,
                    .order = order,
                    .rows = rows,
                    .cols = cols,
                    .group_size = group_size};
    pack_into(pack, int4, int4_sums);
    pack.source = first.int8.data();
    pack.second = second.int8.data();
    pack.format = PanelFormat::kInt8;
    pack.source_row_stride = cols;
    pack_into(pack, int8, int8_sums);
  }
  // In two parts, as threads do.
  void pack_into(PackParams pack, std::vector<std::byte>& panels, std::vector<int32_t>& sums) const {
    panels.assign(static_cast<size_t>(num * panel_bytes(cols, pack.format)), std::byte{0x5a});
    sums.assign(static_cast<size_t>(num * kPanelRows), -1);
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, num / 2}, {num / 2, num}}) {
      pack.begin = begin;
      pack.end = end;
      pack.panels = panels.data() + begin * panel_bytes(cols, pack.format);
      pack.sums = sums.data() + begin * kPanelRows;
      pack_panels(pack);
    }
  }
  int64_t rows, cols, num;
  std::vector<std::byte> int4, int8;
  std::vector<int32_t> int4_sums, int8_sums;
};

Int4Matrix random_matrix(Values& values, int64_t rows, int64_t cols, int64_t group_size, PanelOrder order) {
  return {
      rows, cols, group_size, order, [&] { return values.below(16) - 8; }, [&] { return values.below(16); }};
}

struct Case {
  InputForm form;
  int64_t num_tokens;
  int64_t num_inputs;
  int64_t num_outputs;
  int64_t group_size;
  Output output;
};

std::string describe(const NamedTable& named, const Case& c) {
  return named.name + " form " + std::to_string(static_cast<int>(c.form)) + " T " +
         std::to_string(c.num_tokens) + " K " + std::to_string(c.num_inputs) + " N " +
         std::to_string(c.num_outputs) + " group " + std::to_string(c.group_size) + " output " +
         std::to_string(static_cast<int>(c.output));
}

// What every output of the three products holds: int4 and int8 by the table, int4 by the reference.
struct Products {
  std::vector<float> int4, int8, reference;
};

Products multiply(const NamedTable& named, const Case& c, const Int4Matrix& matrix, const TestRows& rows,
                  Values& values) {
  const bool paired = c.output == Output::kSiluMul;
  const int64_t y_stride = c.num_outputs + 2;
  const auto bias = strided(values, 1, c.num_outputs, c.num_outputs);
  const auto y_weights = strided(values, 1, c.num_tokens, c.num_tokens);
  const auto weight_scales = strided(values, 1, matrix.num * kPanelRows, matrix.num * kPanelRows);
  std::vector<int32_t> y_rows(static_cast<size_t>(c.num_tokens));
  for (size_t t = 0; t < y_rows.size(); ++t) y_rows[t] = static_cast<int32_t>(2 * (y_rows.size() - t) - 1);
  // Rows of y between those written and columns behind the last must stay.
  Products y;
  y.int4 = y.int8 = y.reference = std::vector<float>(static_cast<size_t>(2 * c.num_tokens * y_stride), 0.5f);
  std::vector<std::byte> scratch(static_cast<size_t>(int4_scratch_bytes(c.num_inputs)) + 64, std::byte{0x7f});
  void* aligned = scratch.data();
  size_t space = scratch.size();
  LinearParams p{.x = rows.bytes.data(),
                 .x_scales = rows.scales.data(),
                 .form = c.form,
                 .int8_zero_point = named.table.int8_zero_point,
                 .x_stride = rows.stride,
                 .panels = matrix.int4.data(),
                 .weight_scales = weight_scales.data(),
                 .weight_sums = matrix.int4_sums.data(),
                 .bias = !paired && c.num_tokens % 2 == 0 ? bias.data() : nullptr,
                 .scratch = std::align(64, scratch.size() - 64, aligned, space),
                 .format = PanelFormat::kInt4,
                 .y = y.int4.data(),
                 .y_stride = y_stride,
                 .y_rows = c.num_tokens % 3 == 0 ? y_rows.data() : nullptr,
                 .y_weights = y_weights.data(),
                 .rounding = ActivationRounding::kBFloat16,
                 .output = c.output,
                 .num_tokens = c.num_tokens,
                 .num_inputs = c.num_inputs,
                 .num_outputs = c.num_outputs,
                 .begin = matrix.num > 3 ? 2 : 0,
                 .end = matrix.num};
  named.table.linear(c.form, p.format)(p);
  p.y = y.reference.data();
  ref::linear(p);
  p.y = y.int8.data();
  p.panels = matrix.int8.data();
  p.weight_sums = matrix.int8_sums.data();
  p.format = PanelFormat::kInt8;
  named.table.linear(c.form, p.format)(p);
  return y;
}

void compare(const NamedTable& named, const Case& c) {
  Values values(static_cast<uint64_t>(c.num_tokens * 1000003 + c.num_inputs * 1009 + c.num_outputs));
  const Int4Matrix matrix =
      random_matrix(values, c.num_outputs, c.num_inputs, c.group_size,
                    c.output == Output::kSiluMul ? PanelOrder::kGateUpPairs : PanelOrder::kPlain);
  const auto x = strided(values, c.num_tokens, c.num_inputs, c.num_inputs);
  const TestRows rows(x, c.num_tokens, c.num_inputs, c.num_inputs, c.form, PanelFormat::kInt8,
                      named.table.int8_zero_point);
  ASSERT_EQ(matrix.int4_sums, matrix.int8_sums) << describe(named, c);
  const Products y = multiply(named, c, matrix, rows, values);
  for (size_t i = 0; i < y.int4.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(y.int4[i]), std::bit_cast<uint32_t>(y.int8[i]))
        << describe(named, c) << " at " << i;
    if (c.output == Output::kSiluMul) {
      // The reference's e^x differs in its last bits, and so may the rounding to bf16.
      ASSERT_NEAR(y.int4[i], y.reference[i], kBf16Epsilon * std::abs(y.reference[i]) + kEpsilon)
          << describe(named, c) << " at " << i;
    } else {
      ASSERT_EQ(y.int4[i], y.reference[i]) << describe(named, c) << " at " << i;
    }
  }
}

constexpr Output kOutputs[] = {Output::kStore, Output::kAdd, Output::kAddWeighted, Output::kSiluMul};
constexpr InputForm kForms[] = {InputForm::kInt8, InputForm::kInt8Pair};

TEST(LinearInt4, EveryNumberOfRows) {
  for (const NamedTable& named : fast_tables()) {
    for (InputForm form : kForms) {
      for (int64_t num_tokens = 1; num_tokens <= 40; ++num_tokens) {
        const Output output = kOutputs[num_tokens % 4];
        ASSERT_NO_FATAL_FAILURE(compare(named, {form, num_tokens, 88, 97, 32, output}));
        ASSERT_NO_FATAL_FAILURE(compare(named, {form, num_tokens, 330, 50, 64, output}));
      }
    }
  }
}

TEST(LinearInt4, EveryOutputOfOddSizes) {
  for (const NamedTable& named : fast_tables()) {
    for (InputForm form : kForms) {
      for (Output output : kOutputs) {
        for (int64_t num_tokens : {1, 4, 6, 23}) {
          for (int64_t num_inputs : {2, 32, 64, 66, 128, 130, 256, 1408}) {
            for (int64_t group_size : {32, 64, 128}) {
              for (int64_t num_outputs : {1, 33}) {
                ASSERT_NO_FATAL_FAILURE(
                    compare(named, {form, num_tokens, num_inputs, num_outputs, group_size, output}));
              }
            }
          }
        }
      }
    }
  }
}

TEST(LinearInt4, WidthsOfTheModels) {
  for (const NamedTable& named : fast_tables()) {
    for (InputForm form : kForms) {
      for (int64_t num_tokens : {1, 2, 17}) {
        for (int64_t num_inputs : {1408, 2048, 10944}) {
          ASSERT_NO_FATAL_FAILURE(compare(named, {form, num_tokens, num_inputs, 40, 32, Output::kStore}));
          ASSERT_NO_FATAL_FAILURE(compare(named, {form, num_tokens, num_inputs, 20, 32, Output::kSiluMul}));
        }
      }
    }
  }
}

// The largest sums of either sign in a group and in a row of the widest layer of the family.
TEST(LinearInt4, NothingOverflows) {
  for (const NamedTable& named : fast_tables()) {
    for (InputForm form : kForms) {
      for (int64_t num_tokens : {1, 5, 20}) {
        for (int q : {-8, 7}) {
          for (float sign : {1.0f, -1.0f}) {
            const Case c{form, num_tokens, 16384, 16, 128, Output::kStore};
            const Int4Matrix matrix(
                c.num_outputs, c.num_inputs, c.group_size, PanelOrder::kPlain, [&] { return q; },
                [] { return 15; });
            const std::vector<float> x(static_cast<size_t>(c.num_tokens * c.num_inputs), sign);
            const TestRows rows(x, c.num_tokens, c.num_inputs, c.num_inputs, form, PanelFormat::kInt8,
                                named.table.int8_zero_point);
            Values values(1);
            const Products y = multiply(named, c, matrix, rows, values);
            ASSERT_EQ(y.int4, y.reference) << describe(named, c) << " q " << q << " x " << sign;
            ASSERT_EQ(y.int4, y.int8) << describe(named, c) << " q " << q << " x " << sign;
          }
        }
      }
    }
  }
}

// Each nibble and factor where packed.h says.
TEST(PackPanels, Int4) {
  constexpr int64_t kRows = 19, kCols = 200, kGroup = 64;
  Values values(3);
  const auto next_q = [&] { return values.below(16) - 8; };
  const auto next_factor = [&] { return values.below(16); };
  const Int4Source source(kRows, kCols, kGroup, next_q, next_factor);
  std::vector<uint8_t> panels(static_cast<size_t>(2 * panel_bytes(kCols, PanelFormat::kInt4)), 0x5a);
  std::vector<int32_t> sums(32, -1);
  pack_panels({.source = source.nibbles.data(),
               .factors = source.factors.data(),
               .panels = panels.data(),
               .sums = sums.data(),
               .format = PanelFormat::kInt4,
               .rows = kRows,
               .cols = kCols,
               .group_size = kGroup,
               .begin = 0,
               .end = 2});
  ASSERT_EQ(panels.size(), size_t{2 * 2 * 17 * 64});
  for (int64_t j = 0; j < 2 * kPanelRows; ++j) {
    int32_t sum = 0;
    for (int64_t k = 0; k < 256; ++k) {
      const bool inside = j < kRows && k < kCols;
      const int32_t want = inside ? source.int8[static_cast<size_t>(j * kCols + k)] : 0;
      EXPECT_EQ(ref::load_int4(panels.data(), kCols, j, k), want) << j << " " << k;
      const uint8_t byte = panels[static_cast<size_t>(j / 16 * 2 * 1088 + k / 128 * 1088 +
                                                      (1 + k % 128 / 8) * 64 + j % 16 * 4 + k % 4)];
      const uint8_t stored = inside ? source.nibbles[static_cast<size_t>(j * kCols / 2 + k / 2)] : 0;
      EXPECT_EQ((k % 8 < 4 ? byte : byte >> 4) & 15, ((k % 2 == 0 ? stored : stored >> 4) & 15) ^ 8);
      sum += want;
    }
    EXPECT_EQ(sums[static_cast<size_t>(j)], sum) << j;
  }
}

}  // namespace
}  // namespace fathom::kernels
