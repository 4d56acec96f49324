#include "checkpoint/quantization.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/temp_dir.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

using testing::TempDir;
using testing::tiny_config;

constexpr const char* kGeneric = "quant_model_description.json";
constexpr const char* kDynamic = "quant_model_description_w8a8_dynamic.json";
constexpr const char* kW8A16Name = "quant_model_description_w8a16.json";

class QuantDescriptionTest : public ::testing::Test {
 protected:
  QuantDescription load() {
    auto description = QuantDescription::load(dir_.path(), config_);
    EXPECT_TRUE(description.ok()) << description.status().message();
    return description.ok() ? *description : QuantDescription();
  }
  // The message without the folder's path; "" where it loads.
  std::string refusal() { return dir_.cut(QuantDescription::load(dir_.path(), config_).status().message()); }
  std::string refusal_of(const std::string& text) {
    dir_.write(kGeneric, text);
    return refusal();
  }
  TempDir dir_;
  ModelConfig config_ = tiny_config();
};

TEST_F(QuantDescriptionTest, FloatCheckpointsHaveNone) {
  EXPECT_FALSE(load().present());
  EXPECT_EQ(load().find("a.weight"), std::nullopt);
  config_.mla_quantize = QuantType::kW8A16;  // of no effect alone
  EXPECT_FALSE(load().present());
}

TEST_F(QuantDescriptionTest, TheFileThatIsWantedIsNamed) {
  config_.quantize = QuantType::kW8A8Dynamic;
  dir_.write(kW8A16Name, "{}");
  EXPECT_EQ(refusal(),
            ": config.json has quantize \"w8a8_dynamic\", but there is neither quant_model_description.json "
            "nor quant_model_description_w8a8_dynamic.json");
}

TEST_F(QuantDescriptionTest, TheGenericNameComesFirst) {
  config_.quantize = QuantType::kW8A8Dynamic;
  dir_.write("quant_model_description_w8a8.json", R"({"a.weight": "W8A8_DYNAMIC"})");
  EXPECT_EQ(load().path(), dir_.file("quant_model_description_w8a8.json"));
  dir_.write(kDynamic, R"({"a.weight": "W8A8_DYNAMIC", "b.weight": "FLOAT"})");
  EXPECT_EQ(load().path(), dir_.file(kDynamic));
  EXPECT_EQ(load().find("a.weight"), QuantType::kW8A8Dynamic);
  EXPECT_EQ(load().find("b.weight"), QuantType::kFloat);
  EXPECT_EQ(load().find("c.weight"), std::nullopt);
  dir_.write(kGeneric, R"({"a.weight": "W8A16"})");
  EXPECT_EQ(load().path(), dir_.file(kGeneric));
  EXPECT_EQ(load().find("a.weight"), QuantType::kW8A16);
}

TEST_F(QuantDescriptionTest, WithoutQuantizeAnyTypesFileCounts) {
  dir_.write(kW8A16Name, R"({"a.weight": "W8A16"})");
  EXPECT_EQ(load().find("a.weight"), QuantType::kW8A16);
  dir_.write(kDynamic, "{}");
  EXPECT_EQ(
      refusal(),
      "/quant_model_description_w8a16.json: is there beside "
      "/quant_model_description_w8a8_dynamic.json: say in config.json which one counts, as \"quantize\"");
  config_.quantize = QuantType::kW8A16;
  EXPECT_EQ(load().path(), dir_.file(kW8A16Name));
  config_.quantize.reset();
  std::filesystem::remove(dir_.file(kW8A16Name));
  dir_.write("quant_model_description_w4a16.json", R"({"a.weight": "W4A16"})");
  EXPECT_NE(refusal().find("quant_model_description_w4a16.json: say in config.json"), std::string::npos);
  std::filesystem::remove(dir_.file(kDynamic));
  EXPECT_EQ(load().find("a.weight"), QuantType::kW4A16);
  dir_.write(kGeneric, "{}");
  EXPECT_EQ(load().path(), dir_.file(kGeneric));
}

// What a hand has changed in the file counts, whatever config.json says; the overrides of config.json go over
// it.
TEST_F(QuantDescriptionTest, EditedFilesAndOverrides) {
  config_.quantize = QuantType::kW8A8Dynamic;
  dir_.write(kDynamic, R"({"model.layers.0.self_attn.o_proj.weight": "W8A16",
                           "model.layers.0.self_attn.kv_b_proj.weight": "FLOAT",
                           "model.layers.1.self_attn.o_proj.weight": "W8A8_DYNAMIC",
                           "model.layers.1.mlp.experts.3.up_proj.weight": "W8A8_DYNAMIC",
                           "model.layers.1.mlp.shared_experts.up_proj.weight": "W8A8_DYNAMIC"})");
  const auto of = [this](const char* name) { return load().find(std::string("model.layers.") + name); };
  EXPECT_EQ(of("0.self_attn.o_proj.weight"), QuantType::kW8A16);
  EXPECT_EQ(of("1.self_attn.o_proj.weight"), QuantType::kW8A8Dynamic);
  config_.mla_quantize = QuantType::kW8A16;
  EXPECT_EQ(of("1.self_attn.o_proj.weight"), QuantType::kW8A16);
  EXPECT_EQ(of("0.self_attn.kv_b_proj.weight"), QuantType::kFloat);
  EXPECT_EQ(of("1.mlp.experts.3.up_proj.weight"), QuantType::kW8A8Dynamic);
  config_.moe_quantize = QuantType::kW8A16;
  EXPECT_EQ(of("1.mlp.experts.3.up_proj.weight"), QuantType::kW8A16);
  EXPECT_EQ(of("1.mlp.shared_experts.up_proj.weight"), QuantType::kW8A8Dynamic);
  config_.mla_quantize = QuantType::kW8A8Dynamic;
  EXPECT_EQ(of("0.self_attn.o_proj.weight"), QuantType::kW8A8Dynamic);
}

TEST_F(QuantDescriptionTest, MetadataIsSkipped) {
  dir_.write(kGeneric, R"({"version": "1.0.0", "group_size": 0, "model_quant_type": "W8A8_DYNAMIC",
      "kv_cache_type": null, "reduce_quant_type": ["x"], "is_x": true, "fa_quant_type": 1.5,
      "metadata": {"a.weight": "W4A4", "b": [[1, {"c.d": "e"}]]}, "a.weight": "W8A16"})");
  EXPECT_EQ(load().find("a.weight"), QuantType::kW8A16);
  EXPECT_EQ(load().find("metadata"), std::nullopt);
}

TEST_F(QuantDescriptionTest, UnknownTypesAreRefused) {
  for (const char* type : {"W4A8", "W8A8", "W8A8_MIX", "C8", "FAQuant", "", "w8a16", "w4a16"}) {
    EXPECT_EQ(
        refusal_of(fmt::format(R"({{"a.weight": "FLOAT", "b.weight": "{}"}})", type)),
        fmt::format(
            "/quant_model_description.json: tensor \"b.weight\" has type \"{}\", expected FLOAT, W8A16, "
            "W8A8_DYNAMIC, W4A16 or W4A8_DYNAMIC",
            type));
  }
  EXPECT_EQ(QuantDescription::load(dir_.path(), config_).status().code(), ErrorCode::kUnsupported);
}

TEST_F(QuantDescriptionTest, OnlyTheFormat) {
  for (const char* value : {"1", "null", "true", "0.5", "{}", "[]", "[\"FLOAT\"]", "{\"x\": \"FLOAT\"}"}) {
    EXPECT_EQ(refusal_of(fmt::format(R"({{"a.weight": {}}})", value)),
              "/quant_model_description.json: tensor \"a.weight\" has a type that is not a string");
  }
  for (const char* text : {"[]", "1", "\"FLOAT\"", "null", R"([{"a.weight": "FLOAT"}])"}) {
    EXPECT_EQ(refusal_of(text), "/quant_model_description.json: not an object of tensor names and types");
  }
  EXPECT_EQ(refusal_of(R"({"a.weight": "FLOAT", "a.weight": "W8A16"})"),
            "/quant_model_description.json: tensor \"a.weight\" is listed twice");
  EXPECT_EQ(refusal_of(R"({"a.weight": "FLOAT")"),
            "/quant_model_description.json: not valid JSON near its byte 21");
  EXPECT_NE(refusal_of(""), "");
  EXPECT_EQ(refusal_of("{}"), "");
}

TEST_F(QuantDescriptionTest, Limits) {
  const auto nested = [](size_t depth) {
    return R"({"m":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_EQ(refusal_of(nested(127)), "");
  EXPECT_EQ(refusal_of(nested(128)),
            "/quant_model_description.json: JSON is nested deeper than the limit of 128 levels");
  dir_.write(kGeneric, "{}");
  std::filesystem::resize_file(dir_.file(kGeneric), kMaxDescriptionBytes + 1);
  EXPECT_NE(refusal().find("over the limit of 67108864 bytes"), std::string::npos);
  std::filesystem::remove(dir_.file(kGeneric));
  ASSERT_EQ(::mkfifo(dir_.file(kGeneric).c_str(), 0600), 0);
  EXPECT_EQ(refusal(), "/quant_model_description.json: not a regular file");
}

TEST_F(QuantDescriptionTest, IsReadAsItIsWritten) {
  std::vector<QuantEntry> entries = {{"z.weight", QuantType::kFloat}, {"a \"b\".weight", QuantType::kW8A16}};
  for (int i = 0; i < 50000; ++i)
    entries.push_back({fmt::format("layers.{}.weight", i), QuantType::kW8A8Dynamic});
  dir_.write(kGeneric, write_quant_description(entries));
  const QuantDescription description = load();
  for (const QuantEntry& entry : entries)
    ASSERT_EQ(description.find(entry.tensor), entry.type) << entry.tensor;
}

}  // namespace
}  // namespace fathom
