// Shared by the kernel tests: the tables to test, random inputs in memory whose gaps hold NaN, so that a read
// beyond a row shows, and packed matrices.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/cpu/amx/kernels.h"
#include "kernels/kernel_table.h"
#include "kernels/ref/kernels.h"
#include "kernels/ref/numbers.h"

namespace fathom::kernels {

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr double kEpsilon = 0x1p-24;     // float32, relative to the exact value
inline constexpr double kBf16Epsilon = 0x1p-8;  // of rounding to bf16, half an ulp at worst is 2^-9
inline constexpr DType kFloatTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};

struct NamedTable {
  std::string name;
  KernelTable table;
};

// The AMX kernels over emulated tiles, with AVX-512's for the rest.
inline KernelTable amx_emulated_table() {
  KernelTable table = select_kernels(Isa::kAvx512);
  table.linear_bf16.run = amx_emulated::linear_bf16;
  table.linear_int8.run = amx_emulated::linear_int8;
  table.linear_int4.run = amx_emulated::linear_int4;
  table.absorbed_attention.run = amx_emulated::absorbed_attention;
  table.expanded_attention.run = amx_emulated::expanded_attention;
  table.has_bf16_products = true;
  return table;
}

inline bool can_emulate_amx() {
  const CpuFeatures features = detect_cpu_features();
  return features.best_isa() >= Isa::kAvx512 && features.avx512_vnni && features.avx512_bf16;
}

// One table per tier above the reference that this machine can run, and emulated AMX where it can be.
inline std::vector<NamedTable> fast_tables() {
  std::vector<NamedTable> tables;
  const Isa best = detect_cpu_features().best_isa();
  for (Isa isa : {Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    if (isa <= best) tables.push_back({std::string(isa_name(isa)), select_kernels(isa)});
  }
  if (can_emulate_amx()) tables.push_back({"amx-emulated", amx_emulated_table()});
  return tables;
}

class Values {
 public:
  explicit Values(uint64_t seed) : seed_(seed) {}
  float next() { return static_cast<float>(random_uniform(seed_, counter_++) * 2 - 1); }
  int64_t below(int64_t limit) {
    return static_cast<int64_t>(random_bits(seed_, counter_++) % static_cast<uint64_t>(limit));
  }

 private:
  uint64_t seed_;
  uint64_t counter_ = 0;
};

// rows x cols random floats at a stride, NaN between the rows.
inline std::vector<float> strided(Values& values, int64_t rows, int64_t cols, int64_t stride) {
  std::vector<float> data(static_cast<size_t>((rows - 1) * stride + cols), kNaN);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) data[static_cast<size_t>(r * stride + c)] = values.next();
  }
  return data;
}

// A random matrix, packed: floats below 1 in magnitude, the whole range of int8 but -128, or of int4 and its
// factors (kUint8, groups of 32, an even number of columns).
struct TestMatrix {
  TestMatrix(Values& values, int64_t num_rows, int64_t num_cols, DType dtype,
             PanelOrder order = PanelOrder::kPlain)
      : rows(num_rows), cols(num_cols), format(panel_format(dtype)) {
    const bool paired = order == PanelOrder::kGateUpPairs;
    const bool is_int4 = format == PanelFormat::kInt4;
    const auto elements = static_cast<size_t>(is_int4 ? rows * cols / 2 : rows * cols);
    std::vector<std::byte> source(elements * dtype_bytes(dtype)), second(source.size());
    for (std::vector<std::byte>* matrix : {&source, &second}) {
      for (int64_t i = 0; i < static_cast<int64_t>(elements); ++i) {
        if (is_int4) {
          (*matrix)[static_cast<size_t>(i)] = static_cast<std::byte>(values.below(256));
        } else if (dtype == DType::kInt8) {
          reinterpret_cast<int8_t*>(matrix->data())[i] = static_cast<int8_t>(values.below(255) - 127);
        } else {
          ref::store_element(matrix->data(), dtype, i, values.next());
        }
      }
    }
    num = num_panels(rows) * (paired ? 2 : 1);
    panels.resize(static_cast<size_t>(num * panel_bytes(cols, format)) + 64);
    sums.resize(static_cast<size_t>(num * kPanelRows));
    for (int64_t i = 0; i < num * kPanelRows; ++i) {
      scales.push_back(is_integer(format) ? (values.next() + 1.5f) / 127 : 1.0f);
    }
    std::vector<uint8_t> factors, second_factors;
    for (std::vector<uint8_t>* own : {&factors, &second_factors})
      for (int64_t i = 0; is_int4 && i < rows * ((cols + kInt4GroupInputs - 1) / kInt4GroupInputs); ++i)
        own->push_back(static_cast<uint8_t>(values.below(16)));
    pack_panels({.source = source.data(),
                 .second = second.data(),
                 .factors = factors.data(),
                 .second_factors = second_factors.data(),
                 .panels = data(),
                 .sums = sums.data(),
                 .format = format,
                 .order = order,
                 .rows = rows,
                 .cols = cols,
                 .group_size = kInt4GroupInputs,
                 .source_row_stride = cols,
                 .begin = 0,
                 .end = num});
  }
  void* data() {  // 64-byte aligned
    void* p = panels.data();
    size_t space = panels.size();
    return std::align(64, panels.size() - 64, p, space);
  }

  int64_t rows, cols, num = 0;
  PanelFormat format;
  std::vector<std::byte> panels;
  std::vector<int32_t> sums;
  std::vector<float> scales;
};

// Rows in one of the forms, prepared by the reference.
struct TestRows {
  TestRows(const std::vector<float>& x, int64_t num_tokens, int64_t width, int64_t x_stride,
           InputForm input_form, PanelFormat format, uint8_t zero_point)
      : form(input_form), stride(padded_inputs(width, format)), int8_zero_point(zero_point) {
    bytes.resize(static_cast<size_t>(num_tokens * rows_per_token(form) * stride * input_bytes(form)));
    scales.resize(static_cast<size_t>(num_tokens), kNaN);
    const PreparedRows rows{.data = bytes.data(), .scales = scales.data(), .padded = stride};
    PrepareParams p{.x = x.data(),
                    .width = width,
                    .x_stride = x_stride,
                    .int8_zero_point = zero_point,
                    .begin = 0,
                    .end = num_tokens};
    (form == InputForm::kFloat32    ? p.float32
     : form == InputForm::kBFloat16 ? p.bfloat16
     : form == InputForm::kInt8     ? p.int8
                                    : p.int8_pair) = rows;
    ref::prepare(p);
  }
  InputForm form;
  int64_t stride;
  uint8_t int8_zero_point;
  std::vector<std::byte> bytes;
  std::vector<float> scales;
};

}  // namespace fathom::kernels
