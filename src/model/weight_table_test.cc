#include "model/weight_table.h"

#include <gtest/gtest.h>

#include <cctype>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "checkpoint/known_configs.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

using testing::tiny_config;
using testing::tiny_grouped_config;

// A name with its numbers taken out, as the lists of real checkpoints group them.
std::string pattern_of(const std::string& name) {
  std::string pattern;
  for (size_t i = 0; i < name.size();) {
    if (name[i] == '{') {
      i = name.find('}', i) + 1;
      pattern += 'N';
    } else if (i > 0 && name[i - 1] == '.' && std::isdigit(static_cast<unsigned char>(name[i])) != 0) {
      i = name.find('.', i);
      pattern += 'N';
    } else {
      pattern += name[i++];
    }
  }
  return pattern;
}

struct Group {
  int64_t count = 0;
  Shape shape;
};

void expect_same_as_list(const std::string& file, const ModelConfig& config) {
  const std::string path = std::string(FATHOM_SOURCE_DIR) + "/../shared/data/config/" + file;
  if (!file_exists(path)) GTEST_SKIP() << path << " is not here";
  const auto list = read_json_file(path, {});
  ASSERT_TRUE(list.ok());
  std::map<std::string, Group> groups;
  int64_t parameters = 0;
  const std::vector<WeightSpec> table = weight_table(config);
  for (const WeightSpec& spec : table) {
    Group& group = groups[pattern_of(spec.name)];
    ++group.count;
    group.shape = spec.shape;
    parameters += spec.shape.num_elements();
  }
  EXPECT_EQ(static_cast<int64_t>(table.size()), (*list)["tensor_count"]);
  EXPECT_EQ(parameters, (*list)["parameters"]);
  EXPECT_EQ(groups.size(), (*list)["tensors"].size());
  for (const Json& entry : (*list)["tensors"]) {
    const std::string pattern = pattern_of(entry["name"].get<std::string>());
    ASSERT_TRUE(groups.contains(pattern)) << pattern;
    EXPECT_EQ(groups[pattern].count, entry["count"]) << pattern;
    EXPECT_EQ(groups[pattern].shape, Shape(entry["shape"].get<std::vector<int64_t>>())) << pattern;
  }
}

TEST(WeightTable, V2LiteAsObserved) {
  expect_same_as_list("deepseek-v2-lite.tensors.json", *known_config("deepseek-v2-lite"));
}
TEST(WeightTable, V2AsDerived) {
  expect_same_as_list("deepseek-v2-236b.tensors.derived.json", *known_config("deepseek-v2"));
}

TEST(WeightTable, CountsAndParametersOfTheReleasedModels) {
  const auto parameters = [](const std::vector<WeightSpec>& table) {
    int64_t sum = 0;
    for (const WeightSpec& spec : table) sum += spec.shape.num_elements();
    return sum;
  };
  const auto lite = weight_table(*known_config("deepseek-v2-lite"));
  EXPECT_EQ(lite.size(), 5291u);
  EXPECT_EQ(parameters(lite), 15706484224);
  const auto full = weight_table(*known_config("deepseek-v2"));
  EXPECT_EQ(full.size(), 29102u);
  EXPECT_EQ(parameters(full), 235741434880);
}

TEST(WeightTable, NamesSayWhereTheyBelong) {
  for (const WeightSpec& spec : weight_table(tiny_grouped_config())) {
    EXPECT_EQ(weight_name(spec.role, spec.layer, spec.expert), spec.name);
    EXPECT_FALSE(role_name(spec.role).empty());
  }
  EXPECT_EQ(weight_name(WeightRole::kExpertDown, 2, 3), "model.layers.2.mlp.experts.3.down_proj.weight");
  EXPECT_EQ(weight_name(WeightRole::kLmHead), "lm_head.weight");
}

TEST(WeightTable, VariantsHaveTheirTensors) {
  const auto has = [](const ModelConfig& config, WeightRole role) {
    for (const WeightSpec& spec : weight_table(config)) {
      if (spec.role == role) return true;
    }
    return false;
  };
  ModelConfig config = tiny_config();
  EXPECT_TRUE(has(config, WeightRole::kQProj));
  EXPECT_FALSE(has(config, WeightRole::kQAProj));
  EXPECT_FALSE(has(config, WeightRole::kOBias));
  config.attention_bias = true;
  EXPECT_TRUE(has(config, WeightRole::kKvABias));
  EXPECT_FALSE(has(config, WeightRole::kQABias));  // only q_a_proj has one, q_proj has not
  EXPECT_TRUE(has(tiny_grouped_config(), WeightRole::kQABias));
  EXPECT_FALSE(has(tiny_grouped_config(), WeightRole::kQProj));
  config.n_shared_experts = 0;
  EXPECT_FALSE(has(config, WeightRole::kSharedUp));
  config.n_routed_experts = 0;
  EXPECT_FALSE(has(config, WeightRole::kRouter));
  config.tie_word_embeddings = true;
  EXPECT_FALSE(has(config, WeightRole::kLmHead));
}

TEST(WeightTable, DefaultQuantTypes) {
  ModelConfig config = tiny_grouped_config();
  for (const WeightSpec& spec : weight_table(config))
    EXPECT_EQ(default_quant_type(config, spec), QuantType::kFloat);
  config.quantize = QuantType::kW8A8Dynamic;
  config.mla_quantize = QuantType::kW8A16;
  for (const WeightSpec& spec : weight_table(config)) {
    const bool is_linear = spec.name.find("_proj") != std::string::npos && spec.name.ends_with(".weight") &&
                           spec.role != WeightRole::kKvBProj;
    const bool is_attention = spec.name.find(".self_attn.") != std::string::npos;
    const QuantType expected = !is_linear     ? QuantType::kFloat
                               : is_attention ? QuantType::kW8A16
                                              : QuantType::kW8A8Dynamic;
    EXPECT_EQ(default_quant_type(config, spec), expected) << spec.name;
  }
  config.moe_quantize = QuantType::kW8A16;
  for (const WeightSpec& spec : weight_table(config)) {
    if (spec.role == WeightRole::kExpertUp) {
      EXPECT_EQ(default_quant_type(config, spec), QuantType::kW8A16);
    }
    if (spec.role == WeightRole::kSharedUp) {
      EXPECT_EQ(default_quant_type(config, spec), QuantType::kW8A8Dynamic);
    }
  }
}

}  // namespace
}  // namespace fathom
