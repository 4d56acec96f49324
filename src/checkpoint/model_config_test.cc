#include "checkpoint/model_config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "checkpoint/generation_config.h"
#include "checkpoint/known_configs.h"
#include "support/temp_dir.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

using testing::TempDir;
using testing::tiny_config;
using testing::tiny_grouped_config;

Result<ModelConfig> parse(const Json& json) { return parse_model_config(json, "c.json"); }

// The message of a config that must be refused.
std::string refusal(const Json& json) {
  const auto parsed = parse(json);
  return parsed.ok() ? "accepted" : parsed.status().message();
}

Json with(const char* key, Json value, const ModelConfig& config = tiny_config()) {
  Json json = to_json(config);
  json[key] = std::move(value);
  return json;
}

TEST(ModelConfig, WritingAndReadingGivesTheSame) {
  for (const ModelConfig& config : {tiny_config(), tiny_grouped_config(), *known_config("deepseek-v2-lite"),
                                    *known_config("deepseek-v2")}) {
    const auto parsed = parse(to_json(config));
    ASSERT_TRUE(parsed.ok()) << parsed.status().message();
    EXPECT_EQ(*parsed, config);
  }
  EXPECT_FALSE(known_config("deepseek-v9"));
}

TEST(ModelConfig, KnownConfigsAreThoseOfTheReleasedFiles) {
  const std::pair<const char*, const char*> known[] = {
      {"deepseek-v2-lite", "deepseek-v2-lite-chat.config.json"},
      {"deepseek-v2", "deepseek-v2.5-236b.config.json"}};
  for (const auto& [name, file] : known) {
    const std::string path = std::string(FATHOM_SOURCE_DIR) + "/../shared/data/config/" + file;
    if (!file_exists(path)) GTEST_SKIP() << path << " is not here";
    const auto json = read_json_file(path, {});
    ASSERT_TRUE(json.ok());
    const auto parsed = parse(*json);
    ASSERT_TRUE(parsed.ok()) << parsed.status().message();
    EXPECT_EQ(*parsed, *known_config(name)) << name;
  }
}

struct Range {
  const char* key;
  int64_t minimum;
  int64_t maximum;
};

TEST(ModelConfig, WholeNumberRangesAreExact) {
  const Range ranges[] = {{"vocab_size", 1, 4194304},
                          {"hidden_size", 1, 1048576},
                          {"num_hidden_layers", 1, 1024},
                          {"num_attention_heads", 1, 4096},
                          {"q_lora_rank", 1, 65536},
                          {"kv_lora_rank", 1, 65536},
                          {"qk_nope_head_dim", 1, 4096},
                          {"qk_rope_head_dim", 2, 4096},
                          {"v_head_dim", 1, 4096},
                          {"intermediate_size", 1, 1048576},
                          {"n_routed_experts", 0, 4096},
                          {"moe_intermediate_size", 1, 1048576},
                          {"n_shared_experts", 0, 256},
                          {"num_experts_per_tok", 1, 4096},
                          {"first_k_dense_replace", 0, 1024},
                          {"moe_layer_freq", 1, 1024},
                          {"n_group", 1, 4096},
                          {"topk_group", 1, 4096},
                          {"max_position_embeddings", 1, 16777216}};
  for (const Range& range : ranges) {
    for (const int64_t value : {range.minimum - 1, range.maximum + 1}) {
      EXPECT_EQ(refusal(with(range.key, value)), fmt::format("c.json: {}: {} is outside [{}, {}]", range.key,
                                                             value, range.minimum, range.maximum));
    }
    // At a limit another rule may refuse, but not the range.
    for (const int64_t value : {range.minimum, range.minimum + 1, range.maximum - 1, range.maximum}) {
      EXPECT_EQ(refusal(with(range.key, value)).find(fmt::format("{}: {} is outside", range.key, value)),
                std::string::npos)
          << range.key;
    }
  }
}

TEST(ModelConfig, FractionRangesAreExact) {
  struct {
    const char* key;
    double minimum, maximum;
  } const ranges[] = {
      {"rms_norm_eps", 1e-12, 0.1}, {"rope_theta", 2, 1e12}, {"routed_scaling_factor", 1e-4, 1e4}};
  for (const auto& range : ranges) {
    EXPECT_TRUE(parse(with(range.key, range.minimum)).ok());
    EXPECT_TRUE(parse(with(range.key, range.maximum)).ok());
    EXPECT_NE(refusal(with(range.key, range.minimum * 0.999)).find("outside"), std::string::npos);
    EXPECT_NE(refusal(with(range.key, range.maximum * 1.001)).find("outside"), std::string::npos);
  }
  EXPECT_EQ(refusal(with("rope_theta", 1e300)), "c.json: rope_theta: 1e+300 is outside [2, 1000000000000]");
}

TEST(ModelConfig, EveryRequiredFieldIsMissed) {
  for (const char* key :
       {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "kv_lora_rank",
        "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "intermediate_size"}) {
    Json json = to_json(tiny_config());
    json.erase(key);
    EXPECT_EQ(refusal(json), fmt::format("c.json: {}: is missing", key));
    json[key] = nullptr;
    EXPECT_EQ(refusal(json), fmt::format("c.json: {}: is null", key));
  }
  for (const char* key : {"moe_intermediate_size", "num_experts_per_tok"}) {
    EXPECT_EQ(refusal(with(key, nullptr)),
              fmt::format("c.json: {}: is missing, needed with n_routed_experts 4", key));
  }
  Json json = to_json(tiny_config());
  json.erase("model_type");
  EXPECT_EQ(refusal(json), "c.json: model_type: is missing, expected \"deepseek_v2\"");
}

TEST(ModelConfig, AbsentFieldsTakeTheirDefaults) {
  Json json = to_json(tiny_config());
  for (const char* key : {"num_key_value_heads",
                          "q_lora_rank",
                          "attention_bias",
                          "n_shared_experts",
                          "first_k_dense_replace",
                          "moe_layer_freq",
                          "n_group",
                          "topk_group",
                          "norm_topk_prob",
                          "routed_scaling_factor",
                          "rms_norm_eps",
                          "rope_theta",
                          "max_position_embeddings",
                          "tie_word_embeddings",
                          "topk_method",
                          "scoring_func",
                          "hidden_act",
                          "torch_dtype",
                          "rope_scaling",
                          "bos_token_id",
                          "eos_token_id",
                          "architectures"}) {
    json.erase(key);
  }
  const auto config = parse(json);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->num_key_value_heads, 2);
  EXPECT_FALSE(config->q_lora_rank);
  EXPECT_EQ(config->n_shared_experts, 0);
  EXPECT_EQ(config->first_k_dense_replace, 0);
  EXPECT_EQ(config->rms_norm_eps, 1e-6);
  EXPECT_EQ(config->rope_theta, 10000);
  EXPECT_EQ(config->torch_dtype, DType::kBFloat16);
  EXPECT_TRUE(config->eos_token_ids.empty());
}

TEST(ModelConfig, TypesAreChecked) {
  EXPECT_EQ(refusal(with("hidden_size", "16")), "c.json: hidden_size: \"16\" is not a whole number");
  EXPECT_EQ(refusal(with("hidden_size", true)), "c.json: hidden_size: true is not a whole number");
  EXPECT_EQ(refusal(with("hidden_size", 16.5)), "c.json: hidden_size: 16.5 is not a whole number");
  EXPECT_EQ(refusal(with("hidden_size", Json::array({16}))),
            "c.json: hidden_size: [16] is not a whole number");
  EXPECT_EQ(refusal(with("hidden_size", Json::object())),
            "c.json: hidden_size: an object is not a whole number");
  EXPECT_EQ(refusal(with("attention_bias", 0)), "c.json: attention_bias: 0 is not true or false");
  EXPECT_EQ(refusal(with("rope_theta", "x")), "c.json: rope_theta: \"x\" is not a number");
  EXPECT_EQ(refusal(with("model_type", 2)), "c.json: model_type: 2 is not a string");
  EXPECT_EQ(refusal(with("hidden_size", UINT64_MAX)),
            "c.json: hidden_size: 18446744073709551615 is outside [1, 1048576]");
  EXPECT_EQ(refusal(with("hidden_act", std::string(1000, 'x'))).size(), 117u);
  EXPECT_TRUE(parse(with("hidden_size", 16.0)).ok());
  EXPECT_TRUE(parse(with("rope_theta", 10000)).ok());
  EXPECT_EQ(refusal(Json::array()), "c.json: not a JSON object");
}

TEST(ModelConfig, OtherModelsAreRefusedByName) {
  EXPECT_TRUE(parse(with("model_type", "deepseekv2")).ok());
  EXPECT_EQ(refusal(with("model_type", "deepseek_v3")),
            "c.json: model_type: \"deepseek_v3\" is not supported, expected \"deepseek_v2\"");
  EXPECT_EQ(refusal(with("scoring_func", "sigmoid")),
            "c.json: scoring_func: \"sigmoid\" is not supported, expected \"softmax\"");
  EXPECT_EQ(refusal(with("hidden_act", "gelu")),
            "c.json: hidden_act: \"gelu\" is not supported, expected \"silu\"");
  EXPECT_NE(refusal(with("topk_method", "noaux_tc")).find("\"noaux_tc\" is not supported"),
            std::string::npos);
  EXPECT_NE(refusal(with("torch_dtype", "float64")).find("\"float64\" is not supported"), std::string::npos);
  EXPECT_NE(refusal(with("torch_dtype", "int8")).find("\"int8\" is not supported"), std::string::npos);
  EXPECT_EQ(refusal(with("num_key_value_heads", 1)),
            "c.json: num_key_value_heads: 1 differs from num_attention_heads 2");
}

TEST(ModelConfig, QuantisationsByName) {
  ModelConfig config = tiny_config();
  EXPECT_FALSE(to_json(config).contains("quantize"));
  config.quantize = QuantType::kW8A8Dynamic;
  config.mla_quantize = QuantType::kW8A16;
  EXPECT_EQ(to_json(config)["quantize"], "w8a8_dynamic");
  EXPECT_EQ(to_json(config)["mla_quantize"], "w8a16");
  EXPECT_EQ(*parse(to_json(config)), config);
  EXPECT_EQ(parse(with("moe_quantize", "w8a16"))->moe_quantize, QuantType::kW8A16);
  EXPECT_FALSE(parse(with("quantize", nullptr))->quantize);
  EXPECT_FALSE(parse(with("quantize", ""))->quantize);
  for (const char* value : {"w8a8", "w4a8", "float", "W8A16", "w8a8-dynamic"}) {
    EXPECT_EQ(refusal(with("quantize", value)),
              fmt::format("c.json: quantize: \"{}\" is not supported, expected \"w8a16\", \"w8a8_dynamic\", "
                          "\"w4a16\" or \"w4a8_dynamic\"",
                          value));
  }
  EXPECT_EQ(refusal(with("mla_quantize", 8)), "c.json: mla_quantize: 8 is not a string");
  EXPECT_EQ(refusal(with("quantization_config", {{"quant_method", "gptq"}})),
            "c.json: quantization_config.quant_method: \"gptq\" is not supported, use the float checkpoint");
  EXPECT_EQ(refusal(with("quantization_config", 8)), "c.json: quantization_config: 8 is not an object");
  EXPECT_TRUE(parse(with("quantization_config", {{"group_size", 64}, {"kv_quant_type", "C8"}})).ok());
  EXPECT_TRUE(parse(with("quantization_config", nullptr)).ok());
}

TEST(ModelConfig, BothSpellingsOfRopeAndDtype) {
  Json json = to_json(tiny_grouped_config());
  Json yarn = json["rope_scaling"];
  json.erase("rope_scaling");
  json.erase("rope_theta");
  json.erase("torch_dtype");
  json["dtype"] = "float16";
  yarn["rope_type"] = "yarn";
  yarn["rope_theta"] = 50000.0;
  json["rope_parameters"] = yarn;
  auto config = parse(json);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->rope_scaling, tiny_grouped_config().rope_scaling);
  EXPECT_EQ(config->rope_theta, 50000);
  EXPECT_EQ(config->torch_dtype, DType::kFloat16);

  json["rope_parameters"] = {{"rope_theta", 500}, {"rope_type", "default"}};
  config = parse(json);
  ASSERT_TRUE(config.ok());
  EXPECT_FALSE(config->rope_scaling);
  EXPECT_EQ(config->rope_theta, 500);

  json["rope_parameters"] = yarn;
  json["rope_parameters"]["type"] = "linear";
  EXPECT_EQ(refusal(json), "c.json: rope_parameters.rope_type: \"yarn\" differs from type \"linear\"");
}

TEST(ModelConfig, YarnFields) {
  const auto yarn_with = [](const char* key, Json value) {
    Json json = to_json(tiny_grouped_config());
    json["rope_scaling"][key] = std::move(value);
    return json;
  };
  Json json = to_json(tiny_grouped_config());
  json["rope_scaling"] = {{"type", "yarn"}, {"factor", 40}};
  const auto config = parse(json);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(*config->rope_scaling, (YarnScaling{.factor = 40, .mscale = 1, .mscale_all_dim = 0}));
  EXPECT_EQ(refusal(yarn_with("factor", nullptr)), "c.json: rope_scaling.factor: is null");
  EXPECT_EQ(refusal(yarn_with("factor", 0.5)), "c.json: rope_scaling.factor: 0.5 is outside [1, 65536]");
  EXPECT_EQ(refusal(yarn_with("beta_slow", 33)), "c.json: rope_scaling.beta_fast: 32 is below beta_slow 33");
  EXPECT_EQ(refusal(yarn_with("beta_fast", 0)),
            "c.json: rope_scaling.beta_fast: 0 is outside [0.001, 1000000]");
  EXPECT_EQ(refusal(yarn_with("mscale", -1)), "c.json: rope_scaling.mscale: -1 is outside [0, 100]");
  EXPECT_EQ(refusal(yarn_with("type", "dynamic")),
            "c.json: rope_scaling.type: \"dynamic\" is not supported, expected \"yarn\" or \"default\"");
  EXPECT_EQ(refusal(yarn_with("type", nullptr)), "c.json: rope_scaling.type: is missing, expected \"yarn\"");
  EXPECT_EQ(refusal(with("rope_scaling", 3)), "c.json: rope_scaling: 3 is not an object");
}

TEST(ModelConfig, FieldsMustAgree) {
  const ModelConfig grouped = tiny_grouped_config();
  EXPECT_EQ(refusal(with("qk_rope_head_dim", 5)), "c.json: qk_rope_head_dim: 5 is odd, rotation needs pairs");
  EXPECT_TRUE(parse(with("num_experts_per_tok", 4)).ok());
  EXPECT_EQ(refusal(with("num_experts_per_tok", 5)),
            "c.json: num_experts_per_tok: 5 is above the 4 experts to choose from");
  EXPECT_EQ(refusal(with("num_experts_per_tok", 3, grouped)),
            "c.json: num_experts_per_tok: 3 is above the 2 experts to choose from");
  EXPECT_EQ(refusal(with("n_group", 3, grouped)), "c.json: n_group: 3 does not divide n_routed_experts 4");
  EXPECT_EQ(refusal(with("topk_group", 5, grouped)), "c.json: topk_group: 5 is above n_group 4");
  EXPECT_TRUE(parse(with("n_group", 3)).ok());  // greedy does not look at groups
}

TEST(ModelConfig, ProductsAreBounded) {
  Json json = to_json(tiny_config());
  json["n_routed_experts"] = 4096;
  json["num_hidden_layers"] = 21;
  EXPECT_TRUE(parse(json).ok());
  json["num_hidden_layers"] = 22;
  EXPECT_NE(refusal(json).find("make over 262144 tensors"), std::string::npos);
  json = to_json(tiny_config());
  json["hidden_size"] = 1048576;
  json["moe_intermediate_size"] = 1048576;
  json["n_routed_experts"] = 64;
  EXPECT_NE(refusal(json).find("over the limit of 7.04e+13"), std::string::npos);
}

TEST(ModelConfig, TokenIds) {
  EXPECT_EQ(refusal(with("eos_token_id", 40)), "c.json: eos_token_id: 40 is outside [0, 39]");
  EXPECT_EQ(refusal(with("bos_token_id", -1)), "c.json: bos_token_id: -1 is outside [0, 39]");
  EXPECT_EQ(refusal(with("eos_token_id", Json::array({1, "x"}))),
            "c.json: eos_token_id: \"x\" is not a whole number");
  EXPECT_EQ(parse(with("eos_token_id", Json::array({3, 39})))->eos_token_ids, (std::vector<int64_t>{3, 39}));
  const std::vector<int64_t> most(256, 1);
  const std::vector<int64_t> too_many(257, 1);
  EXPECT_TRUE(parse(with("eos_token_id", most)).ok());
  EXPECT_EQ(refusal(with("eos_token_id", too_many)),
            "c.json: eos_token_id: 257 ids are over the limit of 256");
}

TEST(ModelConfig, FilesAreChecked) {
  TempDir dir;
  EXPECT_EQ(load_model_config(dir.file("none")).status().message(), dir.file("none") + ": no such folder");
  EXPECT_EQ(load_model_config(dir.path()).status().message(),
            dir.path() + ": has no config.json, so it is not a model folder");
  dir.write("config.json", std::string(200, '['));
  EXPECT_NE(load_model_config(dir.path()).status().message().find("deeper than the limit of 128"),
            std::string::npos);
  dir.write("config.json", std::string((1 << 20) + 1, ' '));
  EXPECT_NE(load_model_config(dir.path()).status().message().find("over the limit of 1048576"),
            std::string::npos);
  std::string text = dump_json(to_json(tiny_config()));
  dir.write("config.json", text + std::string((1 << 20) - text.size(), ' '));
  EXPECT_TRUE(load_model_config(dir.path()).ok());
  std::filesystem::remove(dir.file("config.json"));
  ASSERT_EQ(::mkfifo(dir.file("config.json").c_str(), 0600), 0);
  EXPECT_NE(load_model_config(dir.path()).status().message().find("not a regular file"), std::string::npos);
}

TEST(GenerationConfig, UnitesTheEndsOfBothFiles) {
  TempDir dir;
  const ModelConfig config = tiny_config();
  auto generation = load_generation_config(dir.path(), config);
  ASSERT_TRUE(generation.ok());
  EXPECT_EQ(generation->eos_token_ids, (std::vector<int64_t>{1}));
  EXPECT_EQ(generation->temperature, 1);
  EXPECT_FALSE(generation->do_sample);
  dir.write(
      "generation_config.json",
      R"({"eos_token_id": [7, 1], "bos_token_id": 2, "do_sample": true, "temperature": 0.3, "top_p": 0.95,
                "top_k": 20, "repetition_penalty": 1.1, "max_length": 5})");
  generation = load_generation_config(dir.path(), config);
  ASSERT_TRUE(generation.ok()) << generation.status().message();
  EXPECT_EQ(generation->eos_token_ids, (std::vector<int64_t>{1, 7}));
  EXPECT_EQ(generation->bos_token_id, 2);
  EXPECT_TRUE(generation->do_sample);
  EXPECT_EQ(generation->temperature, 0.3);
  EXPECT_EQ(generation->top_k, 20);
}

TEST(GenerationConfig, BadValuesAreRefused) {
  TempDir dir;
  const auto message = [&](const std::string& text) {
    const std::string path = dir.write("generation_config.json", text);
    const auto generation = load_generation_config(dir.path(), tiny_config());
    return generation.ok() ? "accepted" : generation.status().message().substr(path.size());
  };
  EXPECT_EQ(message(R"({"top_p": 1.5})"), ": top_p: 1.5 is outside [0, 1]");
  EXPECT_EQ(message(R"({"temperature": "hot"})"), ": temperature: \"hot\" is not a number");
  EXPECT_EQ(message(R"({"eos_token_id": 40})"), ": eos_token_id: 40 is outside [0, 39]");
  EXPECT_EQ(message("[]"), ": not a JSON object");
  EXPECT_EQ(message(R"({"top_p": null})"), "accepted");
}

}  // namespace
}  // namespace fathom
