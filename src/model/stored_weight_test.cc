#include "model/stored_weight.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <span>

#include "base/json.h"
#include "base/random.h"
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

const std::string kOProj = "model.layers.0.self_attn.o_proj.weight";  // [16, 10]
constexpr const char* kDescription = "quant_model_description_w8a8_dynamic.json";
constexpr const char* kWeights = "quant_model_weight_w8a8_dynamic.safetensors";

class StoredWeightTest : public ::testing::Test {
 protected:
  // Opens and checks against config; "" where all is well, else the message without the folder's path.
  std::string refusal(const ModelConfig& config) {
    const auto checkpoint = Checkpoint::open(dir_.path());
    if (!checkpoint.ok()) return checkpoint.status().message();
    const auto description = QuantDescription::load(dir_.path(), config);
    return dir_.cut(description.ok() ? check_weights(**checkpoint, config, *description).message()
                                     : description.status().message());
  }
  // A file of a quantised tiny model, w8a8 dynamic.
  ModelConfig write_quantised() {
    ModelConfig config = tiny_config();
    config.quantize = QuantType::kW8A8Dynamic;
    write_tiny_checkpoint({config, dir_.path()});
    return config;
  }
  // Writes the only file again, with one tensor changed: of another type and shape (of zero bytes then), or
  // of these bytes, or left out.
  struct Edit {
    std::optional<DType> dtype = std::nullopt;
    std::optional<Shape> shape = std::nullopt;
    std::vector<float> floats = {};
    bool leave_out = false;
  };
  void edit(const std::string& name, const Edit& change) {
    struct Stored {
      TensorDeclaration declaration;
      std::vector<std::byte> bytes;
    };
    std::vector<Stored> tensors;
    std::string path;
    {
      const auto checkpoint = Checkpoint::open(dir_.path());
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
      ASSERT_EQ((*checkpoint)->files().size(), 1u);
      path = (*checkpoint)->files()[0]->path();
      for (std::string_view each : (*checkpoint)->names()) {
        const TensorView view = *(*checkpoint)->tensor(each);
        const auto* data = static_cast<const std::byte*>(view.data);
        Stored stored = {{std::string(each), view.dtype, view.shape}, {data, data + view.num_bytes()}};
        if (each == name) {
          if (change.leave_out) continue;
          stored.declaration.dtype = change.dtype.value_or(view.dtype);
          stored.declaration.shape = change.shape.value_or(view.shape);
          const auto num_elements = static_cast<size_t>(stored.declaration.shape.num_elements());
          stored.bytes.resize(num_elements * dtype_bytes(stored.declaration.dtype));
          std::fill(stored.bytes.begin(), stored.bytes.end(), std::byte{0});
          const auto bytes = std::as_bytes(std::span(change.floats));
          std::copy(bytes.begin(), bytes.end(), stored.bytes.begin());
        }
        tensors.push_back(std::move(stored));
      }
    }
    std::stable_sort(tensors.begin(), tensors.end(), [](const Stored& a, const Stored& b) {
      return dtype_bytes(a.declaration.dtype) > dtype_bytes(b.declaration.dtype);
    });
    std::vector<TensorDeclaration> declarations;
    for (const Stored& stored : tensors) declarations.push_back(stored.declaration);
    auto writer = SafetensorsWriter::create(path, declarations);
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    for (size_t i = 0; i < tensors.size(); ++i) ASSERT_TRUE((*writer)->write(i, 0, tensors[i].bytes).ok());
    ASSERT_TRUE((*writer)->commit().ok());
  }
  void edit(const std::string& name, DType dtype) { edit(name, Edit{.dtype = dtype}); }
  // Replaces the entry of a tensor in the description; "" takes it out.
  void label(const std::string& name, const std::string& type) {
    const std::string path = dir_.file(kDescription);
    Json json = *read_json_file(path, {});
    if (type.empty()) {
      json.erase(name);
    } else {
      json[name] = type;
    }
    dir_.write(kDescription, dump_json(json));
  }
  TempDir dir_;
};

// The scale is per row in either shape and in any floating type; nothing else of a quantised folder is a
// must.
TEST_F(StoredWeightTest, QuantisedWeightsAreFound) {
  const ModelConfig config = write_quantised();
  EXPECT_EQ(refusal(config), "");
  edit(kOProj + "_offset", {.leave_out = true});
  edit("model.layers.0.self_attn.q_proj.weight_scale", {.shape = Shape{20}});
  edit("model.layers.0.self_attn.q_proj.weight_offset", {.dtype = DType::kFloat16, .shape = Shape{20}});
  edit("model.layers.1.mlp.experts.2.up_proj.weight_scale", DType::kBFloat16);
  label(kOProj, "W8A16");
  EXPECT_EQ(refusal(config), "");
  const auto checkpoint = Checkpoint::open(dir_.path());
  const auto description = QuantDescription::load(dir_.path(), config);
  ASSERT_TRUE(checkpoint.ok() && description.ok());
  for (const WeightSpec& spec : weight_table(config)) {
    const auto stored = stored_weight(**checkpoint, *description, spec);
    ASSERT_TRUE(stored.ok()) << stored.status().message();
    const QuantType expected = spec.name == kOProj ? QuantType::kW8A16 : default_quant_type(config, spec);
    EXPECT_EQ(stored->type, expected) << spec.name;
    EXPECT_EQ(stored->tensor.dtype == DType::kInt8, expected != QuantType::kFloat);
    EXPECT_EQ(stored->scale.data != nullptr, expected != QuantType::kFloat);
  }
  EXPECT_TRUE(unused_tensors(**checkpoint, config).empty());
  const auto parts = quantized_parts(weight_groups(config, {}, **checkpoint, *description));
  std::string text;
  for (const QuantizedPart& part : parts)
    text += fmt::format("{} {} {}, ", part.part, quant_type_name(part.type), part.num_tensors);
  EXPECT_EQ(
      text,
      "attention w8a16 1, attention w8a8_dynamic 8, dense w8a8_dynamic 3, experts w8a8_dynamic 24, shared "
      "experts w8a8_dynamic 6, head float 1, ");
}

TEST_F(StoredWeightTest, AnInt8HeadIsFine) {
  const ModelConfig config = write_quantised();
  edit("lm_head.weight", DType::kInt8);
  EXPECT_EQ(refusal(config), "/" + std::string(kDescription) +
                                 ": tensor \"lm_head.weight\" is FLOAT, but int8 in /" + kWeights);
  label("lm_head.weight", "W8A16");
  EXPECT_EQ(refusal(config),
            ": has no tensor \"lm_head.weight_scale\", which the int8 tensor \"lm_head.weight\" needs");
}

TEST_F(StoredWeightTest, TheDescriptionMustAgree) {
  ModelConfig config = write_quantised();
  label(kOProj, "");
  EXPECT_EQ(refusal(config), fmt::format("/{}: has no entry for tensor \"{}\", which is int8 in /{}",
                                         kDescription, kOProj, kWeights));
  label(kOProj, "FLOAT");
  EXPECT_EQ(refusal(config),
            fmt::format("/{}: tensor \"{}\" is FLOAT, but int8 in /{}", kDescription, kOProj, kWeights));
  label(kOProj, "W8A8_DYNAMIC");
  label("model.layers.0.self_attn.kv_b_proj.weight", "W8A16");
  EXPECT_EQ(refusal(config),
            fmt::format("/{}: tensor \"model.layers.0.self_attn.kv_b_proj.weight\" is W8A16, but BF16 in /{}",
                        kDescription, kWeights));
  label("model.layers.0.self_attn.kv_b_proj.weight", "");  // floating tensors need no entry
  EXPECT_EQ(refusal(config), "");
  std::filesystem::remove(dir_.file(kDescription));
  EXPECT_EQ(
      refusal(config),
      ": config.json has quantize \"w8a8_dynamic\", but there is neither quant_model_description.json nor "
      "quant_model_description_w8a8_dynamic.json");
  config.quantize.reset();
  EXPECT_EQ(
      refusal(config),
      fmt::format("/{}: tensor \"model.layers.0.self_attn.q_proj.weight\" is int8, and the folder has no "
                  "quant_model_description.json that says how to use it: copy it from the quantised model",
                  kWeights));
}

TEST_F(StoredWeightTest, ScalesAndOffsetsAreChecked) {
  const ModelConfig config = write_quantised();
  const std::string scale = kOProj + "_scale";
  const std::string offset = kOProj + "_offset";
  const std::string at_scale = fmt::format("/{}: tensor \"{}\" has ", kWeights, scale);
  const std::string at_offset = fmt::format("/{}: tensor \"{}\" has ", kWeights, offset);
  for (const Shape& shape : {Shape{15, 1}, Shape{17}, Shape{1, 16}, Shape{16, 2}, Shape{}, Shape{16, 1, 1}}) {
    edit(scale, {.shape = shape});
    EXPECT_EQ(refusal(config),
              fmt::format("{}shape {}, expected [16, 1] or [16]", at_scale, to_string(shape)));
  }
  edit(scale, {.dtype = DType::kInt32, .shape = Shape{16}});
  EXPECT_EQ(refusal(config), at_scale + "dtype I32, expected F32, BF16 or F16");
  for (const auto& [value, text] : std::initializer_list<std::pair<float, const char*>>{
           {-0.5f, "-0.5"}, {std::numeric_limits<float>::infinity(), "inf"}, {std::nanf(""), "nan"}}) {
    edit(scale, {.dtype = DType::kFloat32, .floats = {1, 0, value}});
    EXPECT_EQ(refusal(config),
              fmt::format("{}{} in row 2, a scale is finite and not negative", at_scale, text));
  }
  edit(scale, {.floats = {0, 1}});  // a row of zeros
  EXPECT_EQ(refusal(config), "");
  edit(offset, {.floats = {0, 0, 0, -3}});
  EXPECT_EQ(refusal(config),
            at_offset + "-3 in row 3, only symmetric quantisation with offset 0 is supported");
  edit(offset, {.floats = {0, std::nanf("")}});
  EXPECT_EQ(refusal(config),
            at_offset + "nan in row 1, only symmetric quantisation with offset 0 is supported");
  edit(offset, {.shape = Shape{3}});
  EXPECT_EQ(refusal(config), at_offset + "shape [3], expected [16, 1] or [16]");
  edit(offset, {.leave_out = true});
  edit(scale, {.leave_out = true});
  EXPECT_EQ(refusal(config),
            fmt::format(": has no tensor \"{}\", which the int8 tensor \"{}\" needs", scale, kOProj));
}

TEST_F(StoredWeightTest, Int4WeightsAreChecked) {
  ModelConfig config = tiny_config();
  config.quantize = QuantType::kW4A8Dynamic;
  config.hidden_size = 80;  // groups of 32, 64 and 128 give 3, 2 and 1 factors
  write_tiny_checkpoint({config, dir_.path()});
  const std::string weights = "/quant_model_weight_w4a8_dynamic.safetensors";
  const std::string description = "/quant_model_description_w4a8_dynamic.json";
  const std::string q_proj = "model.layers.0.self_attn.q_proj.weight";  // [20, 80]
  const std::string factors = q_proj + "_scale_second";
  EXPECT_EQ(refusal(config), "");
  for (const auto& [groups, size] : {std::pair{3, 32}, {2, 64}, {1, 128}}) {
    edit(factors, {.shape = Shape{20, groups}});
    EXPECT_EQ(refusal(config), "");
    const auto checkpoint = Checkpoint::open(dir_.path());
    const auto labels = QuantDescription::load(dir_.path(), config);
    for (const WeightSpec& spec : weight_table(config)) {
      if (spec.name != q_proj) continue;
      const auto stored = stored_weight(**checkpoint, *labels, spec);
      ASSERT_TRUE(stored.ok()) << stored.status().message();
      EXPECT_EQ(stored->group_size, size);
      EXPECT_EQ(stored->type, QuantType::kW4A8Dynamic);
      EXPECT_EQ(stored->tensor.dtype, DType::kUint8);
    }
  }
  edit(factors, {.shape = Shape{20, 4}});
  EXPECT_EQ(
      refusal(config),
      fmt::format("{}: tensor \"{}\" has shape [20, 4], expected [20, 3] or [20, 2] or [20, 1] for groups of "
                  "32, 64 or 128 inputs",
                  weights, factors));
  edit(factors, {.dtype = DType::kInt8, .shape = Shape{20, 2}});
  EXPECT_EQ(refusal(config), fmt::format("{}: tensor \"{}\" has dtype I8, expected U8", weights, factors));
  const uint8_t values[] = {15, 0, 15, 16};
  float packed = 0;
  std::memcpy(&packed, values, sizeof(packed));
  edit(factors, {.dtype = DType::kUint8, .floats = {packed}});
  EXPECT_EQ(refusal(config), fmt::format("{}: tensor \"{}\" has 16 in row 1, group 1, a factor is at most 15",
                                         weights, factors));
  edit(factors, {.leave_out = true});
  EXPECT_EQ(refusal(config),
            fmt::format(": has no tensor \"{}\", which the int4 tensor \"{}\" needs", factors, q_proj));
  edit(q_proj, {.shape = Shape{20, 80}});
  EXPECT_EQ(refusal(config),
            fmt::format("{}: tensor \"{}\" has shape [20, 80], expected [20, 40] as config.json asks "
                        "for with two int4 a byte",
                        weights, q_proj));
  edit(q_proj, {.dtype = DType::kInt8});
  EXPECT_EQ(refusal(config),
            fmt::format("{}: tensor \"{}\" is W4A8_DYNAMIC, but int8 in {}", description, q_proj, weights));
}

TEST_F(StoredWeightTest, AnOddNumberOfInputsIsNoInt4) {
  ModelConfig config = tiny_grouped_config();  // q_lora_rank 7
  config.quantize = QuantType::kW8A8Dynamic;
  write_tiny_checkpoint({config, dir_.path()});
  const std::string q_b_proj = "model.layers.0.self_attn.q_b_proj.weight";
  edit(q_b_proj, {.dtype = DType::kUint8, .shape = Shape{20, 3}});
  EXPECT_EQ(refusal(config),
            fmt::format("/{}: tensor \"{}\" is int4 with 7 inputs, which must be an even number", kWeights,
                        q_b_proj));
}

TEST_F(StoredWeightTest, AScaleOfAFloatWeightIsUnused) {
  const ModelConfig config = write_quantised();
  edit(kOProj, DType::kBFloat16);
  const auto checkpoint = Checkpoint::open(dir_.path());
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ(unused_tensors(**checkpoint, config),
            (std::vector<std::string>{kOProj + "_offset", kOProj + "_scale"}));
}

TEST_F(StoredWeightTest, NamesTheFirstProblem) {
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

TEST_F(StoredWeightTest, EachWeightHasItsTypes) {
  write_tiny_checkpoint({tiny_config(), dir_.path()});
  edit("model.embed_tokens.weight", DType::kInt8);
  EXPECT_EQ(
      refusal(tiny_config()),
      "/model.safetensors: tensor \"model.embed_tokens.weight\" has dtype I8, expected BF16, F16 or F32");
  edit("model.embed_tokens.weight", DType::kBFloat16);
  edit(kOProj, DType::kInt32);
  EXPECT_EQ(refusal(tiny_config()),
            "/model.safetensors: tensor \"model.layers.0.self_attn.o_proj.weight\" has dtype I32, expected "
            "BF16, F16, "
            "F32, I8 or U8");
}

TEST_F(StoredWeightTest, UnusedTensorsAreCounted) {
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
TEST_F(StoredWeightTest, MutatedFilesNeverCrash) {
  ModelConfig written = tiny_grouped_config();
  written.quantize = QuantType::kW8A8Dynamic;
  write_tiny_checkpoint({written, dir_.path(), 4096});
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
    bool good = config.ok() && checkpoint.ok();
    if (good) {
      const auto description = QuantDescription::load(dir_.path(), *config);
      good = description.ok() && check_weights(**checkpoint, *config, *description).ok();
    }
    if (!good) ++num_refused;
    overwrite(path, *original);
  }
  EXPECT_GT(num_refused, kRounds / 3) << "seed " << kSeed;
  EXPECT_EQ(refusal(written), "");
}

}  // namespace
}  // namespace fathom
