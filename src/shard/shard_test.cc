#include "shard/shard.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>

#include "model/rank_weights.h"
#include "model/stored_weight.h"
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

class ShardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_tiny_checkpoint({tiny_config(), dir_.file("source")});
    dir_.write("source/tokenizer.json", "{}");
    dir_.write("source/LICENSE", "");
    dir_.write("source/.hidden", "x");
  }
  ShardOptions options(const std::string& name) {
    return {.source = dir_.file("source"), .destination = dir_.file(name), .num_ranks = 2, .file_bytes = 1};
  }
  ShardResult succeed(const ShardOptions& wanted) {
    auto result = shard_model(wanted, nullptr);
    EXPECT_TRUE(result.ok()) << result.status().message();
    EXPECT_FALSE(path_exists(wanted.destination + ".partial"));
    return result.ok() ? std::move(result).value() : ShardResult();
  }
  std::string refusal(const ShardOptions& wanted) {
    return dir_.cut(shard_model(wanted, nullptr).status().message());
  }
  std::string opening(const std::string& name, const Sharding& sharding) {
    return dir_.cut(open_checkpoint(dir_.file(name), sharding).status().message());
  }
  TempDir dir_;
};

// Element by element: what a rank's tensor has is what lies there in the source.
void expect_cut_of(const TensorView& whole, const TensorView& own, const TensorSlice& slice,
                   const std::string& name) {
  ASSERT_EQ(own.dtype, whole.dtype) << name;
  const size_t bytes = dtype_bytes(whole.dtype);
  const int64_t width = whole.shape.rank() == 2 ? whole.shape[1] : 1;
  const auto at = [&](const TensorView& view, int64_t element) {
    return static_cast<const char*>(view.data) + static_cast<size_t>(element) * bytes;
  };
  int64_t element = 0;
  for (int64_t row = slice.rows.begin; row < slice.rows.end; ++row) {
    for (int64_t col = slice.cols.begin; col < slice.cols.end; ++col)
      ASSERT_EQ(std::memcmp(at(own, element++), at(whole, row * width + col), bytes), 0) << name;
  }
  ASSERT_EQ(element, own.shape.num_elements()) << name;
}

TEST_F(ShardTest, EveryTensorIsACutOfTheSource) {
  const ModelConfig config = tiny_grouped_config();
  ShardOptions wanted = options("out");
  wanted.source = dir_.file("grouped");
  wanted.num_expert_groups = 2;
  write_tiny_checkpoint({config, wanted.source});
  const ShardResult result = succeed(wanted);
  EXPECT_EQ(result.rank_bytes.size(), 2u);
  EXPECT_EQ(result.num_files, 2u * (3 + 2));  // the embedding, three layers, the head
  const auto whole = Checkpoint::open(wanted.source);
  const auto table = weight_table(config);
  for (int64_t rank : {0, 1}) {
    Sharding sharding = result.sharding;
    sharding.rank = rank;
    const auto own = open_checkpoint(wanted.destination, sharding);
    ASSERT_TRUE(own.ok()) << own.status().message();
    EXPECT_TRUE(check_weights(**own, config, {}).ok());
    const auto pieces = weight_pieces(table, config, sharding);
    EXPECT_EQ((*own)->names().size(), pieces.size());
    for (const WeightPiece& piece : pieces) {
      const auto tensor = (*own)->tensor(piece.spec.name);
      ASSERT_TRUE(tensor.ok()) << tensor.status().message();
      expect_cut_of(*(*whole)->tensor(piece.spec.name), *tensor, piece.slice, piece.spec.name);
    }
  }
}

TEST_F(ShardTest, WhatTheFolderHolds) {
  ShardOptions wanted = options("out");
  wanted.file_bytes = uint64_t{1} << 30;
  EXPECT_EQ(succeed(wanted).num_files, 2u);
  auto files = contents(wanted.destination);
  std::vector<std::string> names;
  for (const auto& [name, text] : files) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"LICENSE", "config.json", "fathom_manifest.json",
                                             "rank-00-of-02.manifest.json", "rank-00-of-02.safetensors",
                                             "rank-01-of-02.manifest.json", "rank-01-of-02.safetensors",
                                             "sharding.json", "tokenizer.json"}));
  EXPECT_EQ(files["config.json"], contents(wanted.source)["config.json"]);
  const auto folder = read_sharding(wanted.destination);
  ASSERT_TRUE(folder.ok() && folder->has_value());
  EXPECT_EQ((*folder)->files[1][0].bytes, files["rank-01-of-02.safetensors"].size());
  EXPECT_EQ(succeed(options("many")).num_files, 2u * 5);
}

TEST_F(ShardTest, QuantisedWeightsTakeTheirDescriptionAlong) {
  for (QuantType type : kQuantizedTypes) {
    const std::string name(quant_type_name(type));
    SynthOptions synth;
    synth.config = tiny_config();
    synth.config.quantize = type;
    synth.config.v_head_dim = 32;
    synth.config.intermediate_size = 100;
    synth.output = dir_.file(name);
    synth.group_size = 64;
    ASSERT_TRUE(synthesize(synth, nullptr).ok());
    ShardOptions wanted = options(name + "-out");
    wanted.source = synth.output;
    const ShardResult result = succeed(wanted);
    EXPECT_EQ(result.sharding.width_unit, is_int4(type) ? 32 : 1);
    const auto config = load_model_config(wanted.destination);
    const auto description = QuantDescription::load(wanted.destination, *config);
    ASSERT_TRUE(config.ok() && description.ok() && description->present());
    for (int64_t rank : {0, 1}) {
      Sharding sharding = result.sharding;
      sharding.rank = rank;
      const auto own = open_checkpoint(wanted.destination, sharding);
      ASSERT_TRUE(own.ok()) << own.status().message();
      const Status checked = check_weights(**own, *config, *description);
      EXPECT_TRUE(checked.ok()) << checked.message();
      EXPECT_TRUE(unused_tensors(**own, *config).empty());
    }
  }
}

TEST_F(ShardTest, ResumesAtEveryLayer) {
  const ShardOptions whole = options("whole");
  const uint64_t num_files = succeed(whole).num_files;
  const auto want = contents(whole.destination);
  ShardOptions broken = whole;
  broken.destination = dir_.file("broken");
  interrupt_at_end([&](ProgressSink* progress) { (void)shard_model(broken, progress); });
  EXPECT_FALSE(path_exists(broken.destination));
  const std::string kept = dir_.file("kept");
  const std::string partial = broken.destination + ".partial";
  fs::rename(partial, kept);
  const auto record = [&](uint64_t stage, int rank) {
    return fmt::format("{}/.records/file-{:05}-rank-{:02}.json", partial, stage + 1, rank);
  };
  for (uint64_t stage = 0; stage < num_files / 2; ++stage) {
    fs::copy(kept, partial, fs::copy_options::recursive);
    for (uint64_t i = stage; i < num_files / 2; ++i) fs::remove(record(i, static_cast<int>(i % 2)));
    dir_.write("broken.partial/rank-00-of-02-00001-of-99999.safetensors.partial", "half");
    EXPECT_EQ(succeed(broken).num_resumed_files, 2 * stage);
    EXPECT_EQ(contents(broken.destination), want) << stage;
    fs::remove_all(broken.destination);
  }
  // A file whose size is wrong is made again, and all behind it.
  fs::copy(kept, partial, fs::copy_options::recursive);
  fs::resize_file(fmt::format("{}/rank-01-of-02-00002-of-{:05}.safetensors", partial, num_files / 2), 10);
  EXPECT_EQ(succeed(broken).num_resumed_files, 2u);
  EXPECT_EQ(contents(broken.destination), want);
}

TEST_F(ShardTest, StartsAnewWithOtherOptionsOrAnotherSource) {
  ShardOptions wanted = options("out");
  interrupt_at_end([&](ProgressSink* progress) { (void)shard_model(wanted, progress); });
  wanted.num_expert_groups = 2;
  EXPECT_EQ(succeed(wanted).num_resumed_files, 0u);
  fs::remove_all(wanted.destination);
  interrupt_at_end([&](ProgressSink* progress) { (void)shard_model(wanted, progress); });
  const auto time = fs::last_write_time(dir_.file("source/model.safetensors"));
  fs::last_write_time(dir_.file("source/model.safetensors"), time + std::chrono::seconds(5));
  EXPECT_EQ(succeed(wanted).num_resumed_files, 0u);
}

TEST_F(ShardTest, WhatIsRefused) {
  ShardOptions wanted = options("out");
  wanted.num_ranks = 3;
  EXPECT_EQ(refusal(wanted), "--tp: 3 does not divide num_attention_heads 2");
  wanted = options("out");
  wanted.num_expert_groups = 4;
  EXPECT_EQ(refusal(wanted), "--moe-ep: 4 does not divide the 2 slices");
  EXPECT_EQ(refusal(options("source/out")),
            "/source/out: is the source /source, inside it or around it: choose a folder beside it");
  dir_.write("full", "x");
  EXPECT_EQ(refusal(options("full")), "/full: is there and not a folder");
  ShardOptions forced = options("mine");
  forced.existing = ExistingModel::kReplace;
  fs::create_directory(dir_.file("mine"));
  dir_.write("mine/notes.txt", "mine");
  EXPECT_EQ(refusal(options("mine")),
            "/mine: folder is not empty: choose another, or replace its sharded model with --force");
  EXPECT_EQ(refusal(forced),
            "/mine: --force replaces folders with a sharded model only, this has no sharding");
  succeed(options("out"));
  ShardOptions twice = options("twice");
  twice.source = dir_.file("out");
  EXPECT_EQ(refusal(twice),
            "/out: is sharded for ranks (it has a sharding.json): give the folder it was made from");
  forced = options("out");
  forced.existing = ExistingModel::kReplace;
  forced.num_expert_groups = 2;
  succeed(forced);
  EXPECT_EQ((*read_sharding(dir_.file("out")))->num_expert_groups, 2);
}

TEST_F(ShardTest, OpeningNamesWhatIsWrong) {
  ShardOptions wanted = options("out");
  wanted.file_bytes = uint64_t{1} << 30;
  const Sharding first = succeed(wanted).sharding;
  Sharding second = first;
  second.rank = 1;
  EXPECT_EQ(opening("out", second), "");
  EXPECT_EQ(
      opening("out", Sharding()),
      "/out: was sharded for 2 ranks, --moe-ep 1, --slices 2; asked for are 1 rank, --moe-ep 1, --slices "
      "1: start it as it was sharded, or shard the model anew");
  const std::string path = dir_.file("out/rank-01-of-02.safetensors");
  const std::string text = *read_file(path, 1 << 24);
  fs::remove(path);
  EXPECT_EQ(opening("out", first), "");  // rank 0 opens its own file alone
  EXPECT_EQ(
      opening("out", second),
      "/out/rank-01-of-02.safetensors: no such file, but sharding.json names it for rank 1 of 2: copy it "
      "here");
  dir_.write("out/rank-01-of-02.safetensors", text.substr(0, 1000));
  EXPECT_EQ(opening("out", second),
            fmt::format("/out/rank-01-of-02.safetensors: has 1000 bytes, {} in sharding.json: copy it again",
                        text.size()));
  const std::string foreign =
      "/out/rank-01-of-02.safetensors: its header is not the one that sharding.json has: it belongs to "
      "another "
      "folder";
  dir_.write("out/rank-01-of-02.safetensors",
             *read_file(dir_.file("out/rank-00-of-02.safetensors"), 1 << 24));
  EXPECT_EQ(opening("out", second), foreign);
  ShardOptions other = wanted;  // another training of the same model
  other.source = dir_.file("other");
  other.destination = dir_.file("other-out");
  write_tiny_checkpoint({.config = tiny_config(), .directory = other.source, .seed = 1});
  succeed(other);
  dir_.write("out/rank-01-of-02.safetensors",
             *read_file(dir_.file("other-out/rank-01-of-02.safetensors"), 1 << 24));
  EXPECT_EQ(opening("out", second), foreign);
}

}  // namespace
}  // namespace fathom
