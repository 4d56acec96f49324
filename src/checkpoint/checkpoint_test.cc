#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "checkpoint/shard_index.h"
#include "support/raw_safetensors.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

using testing::raw_entry;
using testing::raw_safetensors;
using testing::TempDir;

constexpr const char* kIndex = "model.safetensors.index.json";

class CheckpointTest : public ::testing::Test {
 protected:
  // A shard with int8 tensors of two bytes.
  void shard(const std::string& file, const std::vector<std::string>& names) {
    std::string header = "{";
    for (size_t i = 0; i < names.size(); ++i) {
      header += (i ? "," : "") + raw_entry(names[i], "I8", "[2]", fmt::format("[{},{}]", 2 * i, 2 * i + 2));
    }
    dir_.write(file, raw_safetensors(header + "}", 2 * names.size()));
  }
  void index(const std::string& weight_map) {
    dir_.write(kIndex, R"({"metadata":{"x":[1]},"weight_map":)" + weight_map + "}");
  }
  // "" for a folder that opens, else the message without the folder's path.
  std::string refusal() {
    const auto checkpoint = Checkpoint::open(dir_.path());
    if (checkpoint.ok()) return "";
    return dir_.cut(checkpoint.status().message());
  }
  TempDir dir_;
};

TEST_F(CheckpointTest, OneFile) {
  shard("model.safetensors", {"b", "a"});
  const auto checkpoint = Checkpoint::open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ((*checkpoint)->names().size(), 2u);
  EXPECT_EQ((*checkpoint)->names()[0], "a");
  EXPECT_EQ((*checkpoint)->data_bytes(), 4u);
  EXPECT_EQ(static_cast<const char*>((*checkpoint)->tensor("a")->data)[0], 2);
  EXPECT_EQ((*checkpoint)->tensor("c").status().message(), dir_.path() + ": has no tensor \"c\"");
  EXPECT_EQ((*checkpoint)->file_of("b"), dir_.file("model.safetensors"));
}

TEST_F(CheckpointTest, Shards) {
  shard("one.safetensors", {"a", "b"});
  shard("two.safetensors", {"c"});
  index(R"({"c":"two.safetensors","a":"one.safetensors","b":"one.safetensors"})");
  const auto checkpoint = Checkpoint::open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ((*checkpoint)->names().size(), 3u);
  EXPECT_EQ((*checkpoint)->file_of("c"), dir_.file("two.safetensors"));
}

TEST_F(CheckpointTest, ALinkToAShardIsFine) {
  TempDir blobs;
  shard("real.safetensors", {"a"});
  std::filesystem::rename(dir_.file("real.safetensors"), blobs.file("0123"));
  std::filesystem::create_symlink(blobs.file("0123"), dir_.file("one.safetensors"));
  index(R"({"a":"one.safetensors"})");
  EXPECT_EQ(refusal(), "");
}

TEST_F(CheckpointTest, MissingWeights) {
  EXPECT_EQ(Checkpoint::open(dir_.file("none")).status().message(), dir_.file("none") + ": no such folder");
  EXPECT_EQ(refusal(), ": folder is empty: download the model into it");
  dir_.write("config.json", "{}");
  EXPECT_EQ(refusal(),
            ": has neither model.safetensors nor model.safetensors.index.json: download the weights");
  EXPECT_EQ(Checkpoint::open(dir_.file("config.json")).status().message(),
            dir_.file("config.json") + ": not a folder: give the folder that holds config.json");
  dir_.write("pytorch_model.bin", "pickle");
  EXPECT_EQ(refusal(),
            ": has only pickle weights (pytorch_model.bin), which are never read because they can run code: "
            "convert them to safetensors");
  shard("model-00001-of-00002.safetensors", {"a"});
  EXPECT_EQ(refusal(), ": has 1 .safetensors files but no model.safetensors.index.json: download the index");
}

TEST_F(CheckpointTest, QuantisedWeightsHaveOtherNames) {
  for (const char* stem :
       {"quant_model_weights", "quant_model_weight_w8a16", "quant_model_weight_w8a8_dynamic"}) {
    shard(fmt::format("{}.safetensors", stem), {"a"});
    EXPECT_EQ(refusal(), "") << stem;
    std::filesystem::remove(dir_.file(fmt::format("{}.safetensors", stem)));
    const std::string part = fmt::format("{}-00001-of-00001.safetensors", stem);
    shard(part, {"a"});
    EXPECT_EQ(
        refusal(),
        fmt::format(": has 1 .safetensors files but no {}.safetensors.index.json: download the index", stem));
    const std::string index_path = dir_.write(fmt::format("{}.safetensors.index.json", stem),
                                              fmt::format(R"({{"weight_map":{{"a":"{}"}}}})", part));
    EXPECT_EQ(refusal(), "") << stem;
    shard(part, {"a", "b"});
    EXPECT_EQ(refusal(),
              fmt::format("/{}: tensor \"b\" is not listed in {}.safetensors.index.json", part, stem));
    std::filesystem::remove(dir_.file(part));
    EXPECT_EQ(refusal(), fmt::format("/{}: no such file, but {}.safetensors.index.json names it: download it",
                                     part, stem));
    std::filesystem::remove(index_path);
  }
}

TEST_F(CheckpointTest, TwoSetsOfWeightsAreRefused) {
  shard("model.safetensors", {"a"});
  shard("quant_model_weights.safetensors", {"a"});
  EXPECT_EQ(refusal(),
            ": has the weights of both model and quant_model_weights: move one set out of the folder");
  std::filesystem::remove(dir_.file("model.safetensors"));
  shard("quant_model_weight_w8a16.safetensors", {"a"});
  EXPECT_NE(refusal().find("both quant_model_weight_w8a16 and quant_model_weights"), std::string::npos);
  std::filesystem::remove(dir_.file("quant_model_weight_w8a16.safetensors"));
  shard("other.safetensors", {"x"});  // of no stem of ours
  EXPECT_EQ(refusal(), "");
}

TEST_F(CheckpointTest, IndexAndFilesMustAgree) {
  shard("one.safetensors", {"a", "b"});
  index(R"({"a":"one.safetensors"})");
  EXPECT_EQ(refusal(), "/one.safetensors: tensor \"b\" is not listed in model.safetensors.index.json");
  index(R"({"a":"one.safetensors","b":"one.safetensors","c":"one.safetensors"})");
  EXPECT_EQ(
      refusal(),
      "/model.safetensors.index.json: tensor \"c\" should be in /one.safetensors, which does not have it");
  index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  EXPECT_EQ(refusal(),
            "/two.safetensors: no such file, but model.safetensors.index.json names it: download it");
  shard("two.safetensors", {"b"});
  EXPECT_EQ(refusal(), "/one.safetensors: tensor \"b\" is in two files, also in /two.safetensors");
}

TEST_F(CheckpointTest, OnlyPlainFileNames) {
  shard("one.safetensors", {"a"});
  for (const char* name :
       {"../one.safetensors", "/etc/one.safetensors", "./one.safetensors", "x/../one.safetensors", "..", ".",
        "", "one.bin", "a\\\\b.safetensors", "one.safetensors\\u0000.safetensors"}) {
    index(fmt::format(R"({{"a":"{}"}})", name));
    EXPECT_NE(refusal().find("only names of .safetensors files in the same folder are read"),
              std::string::npos)
        << name;
  }
}

TEST_F(CheckpointTest, IndexMustHaveItsFormat) {
  shard("one.safetensors", {"a"});
  for (const char* map :
       {"[]", "3", "null", "\"one.safetensors\"", "{}", R"({"a":1})", R"({"a":null})", R"({"a":{}})",
        R"({"a":["one.safetensors"]})", R"({"a":"one.safetensors","a":"one.safetensors"})",
        R"({"a":"one.safetensors"},"weight_map":{})", "{"}) {
    index(map);
    EXPECT_NE(refusal(), "") << map;
  }
  for (const char* text :
       {"", "[]", "3", "{}", R"("weight_map")", R"({"metadata":{"weight_map":{"a":"one.safetensors"}}})"}) {
    dir_.write(kIndex, text);
    EXPECT_NE(refusal(), "") << text;
  }
}

TEST_F(CheckpointTest, IndexDepthLimitIsExact) {
  shard("one.safetensors", {"a"});
  const auto nested = [](int depth) {
    return R"({"m":)" + std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']') + R"(,"weight_map":{"a":"one.safetensors"}})";
  };
  dir_.write(kIndex, nested(127));
  EXPECT_EQ(refusal(), "");
  dir_.write(kIndex, nested(128));
  EXPECT_EQ(refusal(), "/model.safetensors.index.json: JSON is nested deeper than the limit of 128 levels");
  dir_.write(kIndex, std::string(1 << 20, '['));
  EXPECT_NE(refusal(), "");
}

TEST_F(CheckpointTest, NumberOfFilesIsLimited) {
  std::string map = "{";
  for (size_t i = 0; i <= kMaxShards; ++i)
    map += fmt::format(R"({}"t{}":"{}.safetensors")", i ? "," : "", i, i);
  index(map + "}");
  EXPECT_EQ(refusal(), "/model.safetensors.index.json: over the limit of 4096 files");
}

TEST_F(CheckpointTest, ShardsThatAreNoFiles) {
  index(R"({"a":"one.safetensors"})");
  std::filesystem::create_directory(dir_.file("one.safetensors"));
  EXPECT_EQ(refusal(), "/one.safetensors: not a regular file");
  std::filesystem::remove(dir_.file("one.safetensors"));
  ASSERT_EQ(::mkfifo(dir_.file("one.safetensors").c_str(), 0600), 0);
  EXPECT_EQ(refusal(), "/one.safetensors: not a regular file");
  std::filesystem::remove(dir_.file("one.safetensors"));
  std::filesystem::create_symlink("one.safetensors", dir_.file("one.safetensors"));
  EXPECT_NE(refusal(), "");
}

TEST_F(CheckpointTest, IndexIsWrittenAsItIsRead) {
  ShardIndex index{.files = {"one.safetensors", "two.safetensors"}, .locations = {{"a", 1}, {"b \"", 0}}};
  const auto read = read_shard_index(dir_.write(kIndex, write_shard_index(index, 77)));
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->locations.size(), 2u);
  EXPECT_EQ(read->locations[0].tensor, "a");
  EXPECT_EQ(read->files[read->locations[0].file_index], "two.safetensors");
  EXPECT_EQ(read->files[read->locations[1].file_index], "one.safetensors");
}

}  // namespace
}  // namespace fathom
