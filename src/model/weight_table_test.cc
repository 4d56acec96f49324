#include "model/weight_table.h"

#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/random.h"
#include "checkpoint/known_configs.h"
#include "checkpoint/safetensors_writer.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

using testing::TempDir;
using testing::tiny_config;
using testing::tiny_grouped_config;
using testing::write_tiny_checkpoint;

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

class CheckWeightsTest : public ::testing::Test {
 protected:
  // Opens and checks against config; "" where all is well, else the message without the folder's path.
  std::string refusal(const ModelConfig& config) {
    const auto checkpoint = Checkpoint::open(dir_.path());
    if (!checkpoint.ok()) return checkpoint.status().message();
    std::string message = check_weights(**checkpoint, config).message();
    const size_t at = message.find(dir_.path());
    return at == std::string::npos ? message : message.erase(at, dir_.path().size());
  }
  TempDir dir_;
};

TEST_F(CheckWeightsTest, NamesTheFirstProblem) {
  write_tiny_checkpoint({tiny_config(), dir_.path()});
  EXPECT_EQ(refusal(tiny_config()), "");
  ModelConfig config = tiny_config();
  config.num_hidden_layers = 4;
  EXPECT_EQ(
      refusal(config),
      ": has no tensor \"model.layers.3.input_layernorm.weight\", expected [16] as config.json asks for");
  config = tiny_config();
  config.kv_lora_rank = 9;
  EXPECT_EQ(refusal(config),
            "/model.safetensors: tensor \"model.layers.0.self_attn.kv_a_proj_with_mqa.weight\" has shape "
            "[12, 16], expected [13, 16] as config.json asks for");
}

TEST_F(CheckWeightsTest, OnlyFloatingTypes) {
  std::vector<TensorDeclaration> tensors;
  for (const WeightSpec& spec : weight_table(tiny_config()))
    tensors.push_back({spec.name, DType::kInt8, spec.shape});
  auto writer = SafetensorsWriter::create(dir_.file("model.safetensors"), tensors);
  ASSERT_TRUE(writer.ok());
  size_t bytes = 0;
  for (const auto& tensor : tensors) bytes += static_cast<size_t>(tensor.shape.num_elements());
  ASSERT_TRUE((*writer)->append(std::vector<std::byte>(bytes)).ok());
  ASSERT_TRUE((*writer)->commit().ok());
  EXPECT_EQ(
      refusal(tiny_config()),
      "/model.safetensors: tensor \"model.embed_tokens.weight\" has dtype I8, expected BF16, F16 or F32");
}

TEST_F(CheckWeightsTest, UnusedTensorsAreCounted) {
  write_tiny_checkpoint({tiny_config(), dir_.path()});
  const auto checkpoint = Checkpoint::open(dir_.path());
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_TRUE(unused_tensors(**checkpoint, tiny_config()).empty());
  ModelConfig config = tiny_config();
  config.tie_word_embeddings = true;  // its head is not used and not worth a word
  EXPECT_TRUE(unused_tensors(**checkpoint, config).empty());
  EXPECT_EQ(refusal(config), "");
  config.n_shared_experts = 0;
  const auto unused = unused_tensors(**checkpoint, config);
  EXPECT_EQ(unused.size(), 6u);
  EXPECT_EQ(unused[0], "model.layers.1.mlp.shared_experts.down_proj.weight");
}

// In place: replacing a file makes some file systems flush it, thousands of times here.
void overwrite(const std::string& path, const std::string& bytes) {
  std::fstream(path, std::ios::binary | std::ios::in | std::ios::out) << bytes;
  if (std::filesystem::file_size(path) != bytes.size()) std::filesystem::resize_file(path, bytes.size());
}

// Any bytes give an answer, never a crash: a valid folder with a few bytes changed or a file cut, many times
// over.
TEST_F(CheckWeightsTest, MutatedFilesNeverCrash) {
  write_tiny_checkpoint({tiny_grouped_config(), dir_.path(), 4096});
  constexpr uint64_t kSeed = 20240507;
  constexpr uint64_t kRounds = 3000;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path()))
    files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  ASSERT_GT(files.size(), 3u);
  uint64_t counter = 0;
  const auto draw = [&counter](uint64_t below) { return random_bits(kSeed, counter++) % below; };
  uint64_t num_refused = 0;
  for (uint64_t round = 0; round < kRounds; ++round) {
    const std::string& path = files[draw(files.size())];
    const auto original = read_file(path, size_t{1} << 24);
    ASSERT_TRUE(original.ok());
    std::string bytes = *original;
    if (draw(8) == 0) bytes.resize(draw(bytes.size()));
    const uint64_t num_changes = 1 + draw(4);
    for (uint64_t i = 0; i < num_changes && !bytes.empty(); ++i) {
      // Mostly in the header, where the structure is.
      const uint64_t reach = draw(4) == 0 ? bytes.size() : std::min<uint64_t>(bytes.size(), 1200);
      bytes[draw(reach)] = draw(2) == 0 ? static_cast<char>(draw(256)) : "0123456789-[]{}\",:e."[draw(20)];
    }
    overwrite(path, bytes);
    const auto config = load_model_config(dir_.path());
    const auto checkpoint = Checkpoint::open(dir_.path());
    const bool good = config.ok() && checkpoint.ok() && check_weights(**checkpoint, *config).ok();
    if (!good) ++num_refused;
    overwrite(path, *original);
  }
  EXPECT_GT(num_refused, kRounds / 3) << "seed " << kSeed;
  EXPECT_EQ(refusal(tiny_grouped_config()), "");
}

}  // namespace
}  // namespace fathom
