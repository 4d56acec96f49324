#include "quantize/quantize.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/json.h"
#include "model/stored_weight.h"
#include "quantize/verify.h"
#include "support/interrupted.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

using testing::contents;
using testing::TempDir;
using testing::tiny_config;
using testing::tiny_grouped_config;
using testing::write_tiny_checkpoint;

bool same_files(const std::string& a, const std::string& b) {
  const auto left = contents(a), right = contents(b);
  for (const auto& [name, text] : left) {
    if (!right.contains(name) || right.at(name) != text) ADD_FAILURE() << name << " differs or is missing";
  }
  return left == right;
}

class QuantizeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_tiny_checkpoint({tiny_config(), dir_.file("source")});
    dir_.write("source/tokenizer.json", "{}");
    dir_.write("source/LICENSE", "");
    dir_.write("source/.hidden", "x");
    dir_.write("source/pytorch_model.bin", "x");
  }
  QuantizeOptions options(const std::string& name) {
    QuantizeOptions options;
    options.source = dir_.file("source");
    options.destination = dir_.file(name);
    options.shard_bytes = 4096;
    options.num_threads = 2;
    return options;
  }
  QuantizeResult succeed(const QuantizeOptions& wanted) {
    auto result = quantize(wanted, nullptr);
    EXPECT_TRUE(result.ok()) << result.status().message();
    if (!result.ok()) return {};
    EXPECT_FALSE(path_exists(wanted.destination + ".partial"));
    const auto verified =
        verify_model({.directory = wanted.destination, .ranks = {}, .num_threads = 2}, nullptr);
    EXPECT_TRUE(verified.ok() && verified->has_checksums);
    for (const Damage& damage : verified->damages) ADD_FAILURE() << damage.file << ": " << damage.what;
    return std::move(result).value();
  }
  // The message without the folder's path.
  std::string refusal(const QuantizeOptions& wanted) {
    return dir_.cut(quantize(wanted, nullptr).status().message());
  }
  TempDir dir_;
};

// The very tensors that synthesis writes for the quantised model of the same seed.
TEST_F(QuantizeTest, EqualsTheSynthesisedModel) {
  const auto bytes = [](const TensorView& view) {
    return std::string_view(static_cast<const char*>(view.data), view.num_bytes());
  };
  for (DType dtype : {DType::kBFloat16, DType::kFloat16, DType::kFloat32}) {
    ModelConfig float_config = tiny_config();
    float_config.torch_dtype = dtype;
    QuantizeOptions wanted = options("");
    wanted.source = dir_.file(fmt::format("source-{}", dtype_name(dtype)));
    write_tiny_checkpoint({float_config, wanted.source});
    for (QuantType type : kQuantizedTypes) {
      const std::string name = fmt::format("{}-{}", quant_type_name(type), dtype_name(dtype));
      wanted.destination = dir_.file(name);
      wanted.recipe = {.type = type, .group_size = 32, .rounding = Rounding::kNearest};
      wanted.layout = is_int4(type) ? FileLayout::kModelSlim : FileLayout::kAscendV1;
      EXPECT_TRUE(succeed(wanted).left_out.empty());

      SynthOptions synth;
      synth.config = float_config;
      synth.config.quantize = type;
      synth.group_size = 32;
      synth.output = dir_.file(name + "-synth");
      ASSERT_TRUE(synthesize(synth, nullptr).ok());
      const auto config = load_model_config(wanted.destination);
      ASSERT_TRUE(config.ok()) << config.status().message();
      EXPECT_EQ(*config, synth.config);
      const auto made = Checkpoint::open(wanted.destination), expected = Checkpoint::open(synth.output);
      ASSERT_TRUE(made.ok() && expected.ok());
      ASSERT_EQ((*made)->names().size(), (*expected)->names().size());
      for (std::string_view tensor : (*expected)->names()) {
        ASSERT_TRUE((*made)->contains(tensor)) << tensor;
        EXPECT_EQ(bytes(*(*made)->tensor(tensor)), bytes(*(*expected)->tensor(tensor))) << tensor;
      }
    }
  }
}

TEST_F(QuantizeTest, FilesOfBothLayouts) {
  QuantizeOptions wanted = options("slim");
  wanted.recipe.mix = {{"self_attn", QuantType::kW8A16}};
  const uint64_t num_shards = succeed(wanted).num_shards;
  auto files = contents(wanted.destination);
  const std::string first = fmt::format("-00001-of-{:05}.safetensors", num_shards);
  for (const std::string& name :
       {std::string("config.json"), std::string("tokenizer.json"), std::string("LICENSE"),
        std::string("fathom_manifest.json"), std::string("quantization_report.html"),
        std::string("quantization_report.json"), std::string("quant_model_description_w8a8_dynamic.json"),
        std::string("quant_model_weight_w8a8_dynamic.safetensors.index.json"),
        "quant_model_weight_w8a8_dynamic" + first}) {
    EXPECT_TRUE(files.contains(name)) << name;
  }
  EXPECT_EQ(files.size(), num_shards + 8);
  const Json config = *parse_json(files["config.json"], "config.json", {});
  EXPECT_EQ(config["quantize"], "w8a8_dynamic");
  EXPECT_EQ(config["mla_quantize"], "w8a16");
  EXPECT_FALSE(config.contains("moe_quantize"));

  wanted = options("v1");
  wanted.layout = FileLayout::kAscendV1;
  wanted.recipe.type = QuantType::kW4A16;
  succeed(wanted);
  files = contents(wanted.destination);
  EXPECT_TRUE(files.contains("quant_model_weights.safetensors.index.json"));
  const auto description = parse_json(files["quant_model_description.json"], "d", {});
  ASSERT_TRUE(description.ok());
  EXPECT_EQ((*description)["version"], "1.0.0");
  EXPECT_EQ((*description)["model_quant_type"], "W4A16");
  EXPECT_EQ((*description)["group_size"], 64);
  EXPECT_EQ((*description)["model.layers.1.self_attn.o_proj.weight_scale_second"], "W4A16");
}

TEST_F(QuantizeTest, OtherKeysOfTheConfigStay) {
  Json config = *read_json_file(dir_.file("source/config.json"), {});
  config["architectures"] = {"DeepseekV2ForCausalLM"};
  config["made_up"] = {{"a", 1e-06}};
  dir_.write("source/config.json", dump_json(config));
  succeed(options("out"));
  Json made = *read_json_file(dir_.file("out/config.json"), {});
  EXPECT_EQ(made["quantize"], "w8a8_dynamic");
  made.erase("quantize");
  EXPECT_EQ(made, config);
}

TEST_F(QuantizeTest, SameFilesForAnyThreadCount) {
  QuantizeOptions wanted = options("1");
  wanted.recipe.mix = {{"experts", QuantType::kW4A8Dynamic}};
  for (int threads : {1, 2, 3}) {
    wanted.num_threads = threads;
    wanted.destination = dir_.file(std::to_string(threads));
    succeed(wanted);
    EXPECT_TRUE(same_files(wanted.destination, dir_.file("1")));
  }
}

// What the seed's users did by hand: the stored bytes are the same.
TEST_F(QuantizeTest, ARelabelledDescriptionCounts) {
  const QuantizeOptions wanted = options("out");
  succeed(wanted);
  const std::string path = dir_.file("out/quant_model_description_w8a8_dynamic.json");
  Json description = *read_json_file(path, {});
  for (auto& [name, type] : description.items()) {
    if (name.find("self_attn") != std::string::npos && type == "W8A8_DYNAMIC") type = "W8A16";
  }
  dir_.write("out/quant_model_description_w8a8_dynamic.json", dump_json(description));
  const auto config = load_model_config(wanted.destination);
  const auto checkpoint = Checkpoint::open(wanted.destination);
  const auto edited = QuantDescription::load(wanted.destination, *config);
  ASSERT_TRUE(edited.ok() && checkpoint.ok());
  EXPECT_TRUE(check_weights(**checkpoint, *config, *edited).ok());
  EXPECT_EQ(edited->find("model.layers.0.self_attn.o_proj.weight"), QuantType::kW8A16);
  // The manifest sees the edit.
  const auto verified = verify_model({.directory = wanted.destination, .ranks = {}}, nullptr);
  ASSERT_TRUE(verified.ok());
  ASSERT_EQ(verified->damages.size(), 1u);
  EXPECT_EQ(verified->damages[0].file, "quant_model_description_w8a8_dynamic.json");
}

TEST_F(QuantizeTest, ResumesAtEveryShardBorder) {
  QuantizeOptions whole = options("whole");
  whole.recipe.type = QuantType::kW8A16;
  const uint64_t num_shards = succeed(whole).num_shards;
  QuantizeOptions broken = whole;
  broken.destination = dir_.file("broken");
  interrupt_at_end([&](ProgressSink* progress) { (void)quantize(broken, progress); });
  EXPECT_FALSE(path_exists(broken.destination));
  const std::string kept = dir_.file("kept");
  const std::string partial = broken.destination + ".partial";
  fs::rename(partial, kept);
  ASSERT_TRUE(path_exists(fmt::format("{}/.records/shard-{:05}.json", kept, num_shards - 1)));
  for (uint64_t border = 0; border < num_shards; ++border) {
    fs::copy(kept, partial, fs::copy_options::recursive);
    for (uint64_t i = border; i < num_shards; ++i)
      fs::remove(fmt::format("{}/.records/shard-{:05}.json", partial, i + 1));
    dir_.write("broken.partial/quant_model_weight_w8a16-00001-of-99999.safetensors.partial", "half");
    EXPECT_EQ(succeed(broken).num_resumed_shards, border);
    EXPECT_TRUE(same_files(broken.destination, whole.destination)) << border;
    fs::remove_all(broken.destination);
  }
  // A shard whose size is wrong is made again, and all behind it.
  fs::copy(kept, partial, fs::copy_options::recursive);
  fs::resize_file(fmt::format("{}/quant_model_weight_w8a16-00002-of-{:05}.safetensors", partial, num_shards),
                  10);
  EXPECT_EQ(succeed(broken).num_resumed_shards, 1u);
  EXPECT_TRUE(same_files(broken.destination, whole.destination));
}

TEST_F(QuantizeTest, StartsAnewWithOtherOptionsOrAnotherSource) {
  QuantizeOptions wanted = options("out");
  interrupt_at_end([&](ProgressSink* progress) { (void)quantize(wanted, progress); });
  wanted.recipe.mix = {{"self_attn", QuantType::kW8A16}};
  EXPECT_EQ(succeed(wanted).num_resumed_shards, 0u);
  fs::remove_all(wanted.destination);
  interrupt_at_end([&](ProgressSink* progress) { (void)quantize(wanted, progress); });
  const auto time = fs::last_write_time(dir_.file("source/model.safetensors"));
  fs::last_write_time(dir_.file("source/model.safetensors"), time + std::chrono::seconds(5));
  EXPECT_EQ(succeed(wanted).num_resumed_shards, 0u);
}

TEST_F(QuantizeTest, TwoRunsAtOnceAreRefused) {
  fs::create_directory(dir_.file("out.partial"));
  const int lock = ::open(dir_.file("out.partial").c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::flock(lock, LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(refusal(options("out")), "/out.partial: another run writes into this folder: wait for it");
  ::close(lock);
  succeed(options("out"));
}

TEST_F(QuantizeTest, DestinationsThatAreRefused) {
  EXPECT_EQ(refusal(options("source")),
            "/source: is the source /source, inside it or around it: choose a folder beside it");
  EXPECT_NE(refusal(options("source/sub/out")), "");
  EXPECT_NE(refusal(options("source/../source/out/")), "");
  EXPECT_NE(refusal(options("")), "");
  fs::create_directory_symlink(dir_.file("source"), dir_.file("link"));
  EXPECT_NE(refusal(options("link/out")), "");
  dir_.write("file", "x");
  EXPECT_EQ(refusal(options("file")), "/file: is there and not a folder");
  fs::create_directories(dir_.file("full/sub"));
  EXPECT_EQ(refusal(options("full")),
            "/full: folder is not empty: choose another, or replace its quantised model with --force");
  QuantizeOptions forced = options("full");
  forced.existing = ExistingModel::kReplace;
  EXPECT_NE(refusal(forced).find("--force replaces folders with a quantised model only"), std::string::npos);
  fs::create_directory(dir_.file("mine.partial"));
  dir_.write("mine.partial/notes.txt", "mine");
  EXPECT_EQ(refusal(options("mine")),
            "/mine.partial: is in the way and not what an interrupted run leaves: move it away");
  EXPECT_TRUE(path_exists(dir_.file("mine.partial/notes.txt")));
  fs::create_directory(dir_.file("empty"));
  succeed(options("empty/"));
}

TEST_F(QuantizeTest, ForceReplacesAtTheEnd) {
  succeed(options("out"));
  const auto before = contents(dir_.file("out"));
  QuantizeOptions wanted = options("out");
  wanted.existing = ExistingModel::kReplace;
  wanted.recipe.type = QuantType::kW4A16;
  interrupt_at_end([&](ProgressSink* progress) { (void)quantize(wanted, progress); });
  EXPECT_EQ(contents(dir_.file("out")), before);
  EXPECT_GT(succeed(wanted).num_resumed_shards, 0u);
  EXPECT_NE(contents(dir_.file("out")), before);
  EXPECT_FALSE(path_exists(dir_.file("out/quant_model_description_w8a8_dynamic.json")));
  // Stopped between the exchange of the names and the removal of the old model.
  QuantizeOptions other = options("old");
  succeed(other);
  fs::rename(dir_.file("old"), dir_.file("out.partial"));
  succeed(wanted);
}

TEST_F(QuantizeTest, SourcesThatAreRefused) {
  succeed(options("out"));
  QuantizeOptions twice = options("twice");
  twice.source = dir_.file("out");
  EXPECT_NE(refusal(twice).find("is quantised already"), std::string::npos);
  fs::resize_file(dir_.file("source/model.safetensors"), 1000);
  EXPECT_NE(refusal(options("cut")), "");
  EXPECT_FALSE(path_exists(dir_.file("cut.partial")));
  QuantizeOptions odd = options("odd");
  odd.source = dir_.file("odd-source");
  write_tiny_checkpoint({tiny_grouped_config(), odd.source});
  odd.recipe.type = QuantType::kW4A16;
  EXPECT_NE(refusal(odd).find("has 7 inputs: w4a16 needs an even number"), std::string::npos);
  odd.recipe.mix = {{"q_b_proj", QuantType::kW8A16}};
  succeed(odd);
}

TEST_F(QuantizeTest, NamesAValueThatIsNotFinite) {
  const std::string tensor = "model.layers.1.mlp.experts.2.up_proj.weight";  // [10, 16] bf16
  const auto before = contents(dir_.file("source"));
  for (const auto& [bits, text] : {std::pair<uint16_t, const char*>{0x7fc0, "nan"}, {0xff80, "-inf"}}) {
    uint64_t offset = 0;
    {
      const auto file = SafetensorsFile::open(dir_.file("source/model.safetensors"));
      const auto view = (*file)->tensor(tensor);
      offset =
          static_cast<uint64_t>(static_cast<const std::byte*>(view->data) - (*file)->file().bytes().data());
    }
    std::fstream stream(dir_.file("source/model.safetensors"),
                        std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp(static_cast<std::streamoff>(offset + 2 * (16 * 7 + 5)));
    stream.write(reinterpret_cast<const char*>(&bits), 2);
    stream.close();
    EXPECT_EQ(
        refusal(options("out")),
        fmt::format(
            "/source/model.safetensors: tensor \"{}\" has {} in row 7, column 5: it cannot be quantised",
            tensor, text));
    EXPECT_FALSE(path_exists(dir_.file("out")));
  }
}

TEST_F(QuantizeTest, TheReportHoldsEveryLinear) {
  const QuantizeResult result = succeed(options("out"));
  int64_t num_tensors = 0;
  for (const GroupError& group : result.report.groups) num_tensors += group.num_tensors;
  int64_t expected = 0;
  for (const WeightSpec& spec : weight_table(tiny_config()))
    expected += spec.formats == WeightFormats::kFloatOrQuantized && spec.role != WeightRole::kLmHead;
  EXPECT_EQ(num_tensors, expected);
  // Uniform errors of half a step at most, values up to 127 steps: int8 is near 40 dB, never below 30 here.
  EXPECT_GT(signal_to_noise_db(result.report.total), 30);
  EXPECT_LT(signal_to_noise_db(result.report.total), 60);
  ASSERT_FALSE(result.report.worst.empty());
  const std::string page = contents(dir_.file("out"))["quantization_report.html"];
  EXPECT_NE(page.find("<polyline"), std::string::npos);
  EXPECT_NE(page.find(result.report.worst[0].tensor), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);  // needs no network
}

}  // namespace
}  // namespace fathom
