// `fathom quantize` against the integers and scales that a NumPy script made of the same weights
// (tools/reference/make_quantized_goldens.py), byte for byte.
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "quantize/quantize.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

struct BytesCase {
  std::string variant;
  QuantType type;
  std::string file;
  int64_t group_size = 0;  // int4
};

void PrintTo(const BytesCase& value, std::ostream* out) { *out << value.variant << " " << value.file; }

class QuantizedBytesTest : public ::testing::TestWithParam<BytesCase> {};

const BytesCase kCases[] = {
    {"lite_like", QuantType::kW8A8Dynamic, "quant_model_weight_w8a8_dynamic.safetensors"},
    {"attention_bias", QuantType::kW8A8Dynamic, "quant_model_weight_w8a8_dynamic.safetensors"},
    {"odd_sizes", QuantType::kW8A8Dynamic, "quant_model_weight_w8a8_dynamic.safetensors"},
    {"lite_like", QuantType::kW4A8Dynamic, "quant_model_weight_w4a8_dynamic.safetensors", 64},
    {"attention_bias", QuantType::kW4A8Dynamic, "quant_model_weight_w4a8_dynamic.safetensors", 32},
};

INSTANTIATE_TEST_SUITE_P(Files, QuantizedBytesTest, ::testing::ValuesIn(kCases));

std::string_view bytes(const TensorView& view) {
  return {static_cast<const char*>(view.data), view.num_bytes()};
}

TEST_P(QuantizedBytesTest, EqualTheReferences) {
  const BytesCase& wanted = GetParam();
  const auto golden = SafetensorsFile::open(golden_dir("quantized/" + wanted.variant) + "/" + wanted.file);
  ASSERT_TRUE(golden.ok()) << golden.status().message();
  const TempDir folder;
  QuantizeOptions options;
  options.source = golden_dir(wanted.variant);
  options.destination = folder.file("out");
  options.recipe.type = wanted.type;
  options.recipe.rounding = Rounding::kNearest;
  if (wanted.group_size > 0) options.recipe.group_size = wanted.group_size;
  const auto result = quantize(options, nullptr);
  ASSERT_TRUE(result.ok()) << result.status().message();
  const auto made = Checkpoint::open(options.destination);
  ASSERT_TRUE(made.ok()) << made.status().message();
  size_t num_scales = 0;
  for (const SafetensorsEntry& entry : (*golden)->entries()) {
    const std::string name(entry.name);
    const auto expected = (*golden)->view(entry);
    const auto got = (*made)->tensor(name);
    ASSERT_TRUE(expected.ok() && got.ok()) << name;
    EXPECT_EQ(got->dtype, expected->dtype) << name;
    EXPECT_EQ(got->shape, expected->shape) << name;
    EXPECT_EQ(bytes(*got), bytes(*expected)) << name;
    num_scales += name.ends_with("_scale") ? 1 : 0;
  }
  EXPECT_GE(num_scales, 10u);
}

}  // namespace
}  // namespace fathom::testing
