#include "cli/result_setup.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "support/engine.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

class ResultSetupTest : public ::testing::Test {
 protected:
  ResultSetupTest() {
    const std::string demo = std::string(FATHOM_SOURCE_DIR) + "/models/demo";
    std::filesystem::copy(demo, folder_.file("demo"), std::filesystem::copy_options::recursive);
    options_ = small_options(folder_.file("demo"));
    options_.max_model_len = 64;
  }

  Json setup() const {
    const auto engine = load_engine(options_);
    return engine == nullptr ? Json() : result_setup(*engine).value();
  }
  // The members of which two setups differ.
  static std::set<std::string> differences(const Json& a, const Json& b) {
    std::set<std::string> names;
    for (const auto& [key, value] : a.items()) {
      if (b.at(key) != value) names.insert(key);
    }
    return names;
  }

  TempDir folder_;
  EngineOptions options_;
};

using Names = std::set<std::string>;

TEST_F(ResultSetupTest, OptionsThatDecideBitsAreInIt) {
  const Json before = setup();
  const EngineOptions plain = options_;
  const auto changed = [&](auto change) {
    options_ = plain;
    change(options_);
    return differences(before, setup());
  };
  EXPECT_EQ(changed([](EngineOptions& o) { o.isa = Isa::kReference; }), Names{"isa"});
  EXPECT_EQ(changed([](EngineOptions& o) { o.dtype = DType::kFloat32; }), Names{"dtype"});
  EXPECT_EQ(changed([](EngineOptions& o) { o.kv_cache_dtype = DType::kInt8; }), Names{"kv_cache_dtype"});
  EXPECT_EQ(changed([](EngineOptions& o) { o.max_model_len = 65; }), Names{"max_model_len"});
  EXPECT_EQ(changed([](EngineOptions& o) { o.expanded_prompt_tokens = 7; }), Names{"expanded_prompt_tokens"});
  EXPECT_EQ(changed([](EngineOptions& o) { o.num_slices = 2; }), (Names{"slices", "slices_of_attention"}));
  EXPECT_EQ(changed([](EngineOptions& o) { o.num_slices = o.num_expert_groups = 2; }),
            (Names{"slices", "slices_of_attention", "moe_ep"}));
  // What only speed depends on.
  EXPECT_EQ(changed([](EngineOptions& o) {
              o.num_threads = 1;
              o.max_num_seqs = 3;
              o.block_size = 32;
              o.speculation = Speculation::kOff;
            }),
            Names{});
}

TEST_F(ResultSetupTest, TheModelsFilesAreInItAndNotTheirPlace) {
  const Json before = setup();
  std::filesystem::rename(folder_.file("demo"), folder_.file("moved"));
  options_.model_dir = folder_.file("moved");
  folder_.write("moved/README.md", "Says nothing.");
  EXPECT_EQ(setup(), before);
  folder_.write("moved/generation_config.json", "{\"temperature\": 0.5}");
  EXPECT_EQ(differences(before, setup()), Names{"settings"});
  // The lowest bit of the first value of a tensor.
  const std::string weights = folder_.file("moved/model.safetensors");
  std::string bytes = read_file(weights, size_t{1} << 30).value();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  bytes[8 + header_bytes] = static_cast<char>(bytes[8 + header_bytes] ^ 1);
  folder_.write("moved/model.safetensors", bytes);
  EXPECT_EQ(differences(before, setup()), (Names{"settings", "weights"}));
}

TEST_F(ResultSetupTest, AFingerprintNamesTheProgramAndTheRanks) {
  const auto fingerprint = [this] {
    const auto engine = load_engine(options_);
    return fingerprint_of(*engine, result_setup(*engine).value());
  };
  const std::string before = fingerprint();
  EXPECT_TRUE(before.starts_with("fathom-" FATHOM_VERSION "-tp1-")) << before;
  EXPECT_EQ(fingerprint(), before);
  options_.kv_cache_dtype = DType::kInt8;
  EXPECT_NE(fingerprint(), before);
}

}  // namespace
}  // namespace fathom::testing
