#include "checkpoint/sharded_folder.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

using testing::TempDir;

ShardedFolder two_ranks() {
  ShardedFolder folder;
  folder.num_ranks = 2;
  folder.num_slices = folder.num_expert_groups = 4;
  folder.width_unit = 32;
  folder.source_digest = "source";
  folder.groups = {{.role = "o_proj",
                    .dtype = DType::kUint8,
                    .type = QuantType::kW4A16,
                    .num_tensors = 3,
                    .num_elements = 90,
                    .bytes = 50,
                    .rank_bytes = {25, 26}}};
  for (int64_t rank : {0, 1}) {
    auto& files = folder.files.emplace_back();
    for (size_t file : {0u, 1u}) files.push_back({rank_file_name(rank, 2, file, 2), 100 + file, "h", "d"});
  }
  return folder;
}

class ShardedFolderTest : public ::testing::Test {
 protected:
  // The message without the folder's path.
  std::string refusal(const std::string& text) {
    dir_.write(kShardingName, text);
    const std::string message = read_sharding(dir_.path()).status().message();
    return message.substr(std::min(message.size(), dir_.path().size()));
  }
  // Of the description with one member of it changed.
  std::string refusal(const char* pointer, const Json& value) {
    Json json = *parse_json(write_sharding(two_ranks()), "", {});
    json[Json::json_pointer(pointer)] = value;
    return refusal(dump_json(json));
  }
  TempDir dir_;
};

TEST_F(ShardedFolderTest, WhatIsWrittenIsRead) {
  EXPECT_FALSE(read_sharding(dir_.path())->has_value());
  const ShardedFolder want = two_ranks();
  dir_.write(kShardingName, write_sharding(want));
  const auto got = read_sharding(dir_.path());
  ASSERT_TRUE(got.ok() && got->has_value()) << got.status().message();
  EXPECT_EQ(write_sharding(**got), write_sharding(want));
  EXPECT_EQ((*got)->width_unit, 32);
  EXPECT_EQ((*got)->groups[0].rank_bytes[1], 26u);
  EXPECT_EQ((*got)->groups[0].dtype, DType::kUint8);
  EXPECT_EQ((*got)->files[1][1].bytes, 101u);
  EXPECT_EQ((*got)->checksum.size(), 32u);
}

TEST_F(ShardedFolderTest, NamesOfFiles) {
  EXPECT_EQ(rank_file_name(3, 16, 0, 1), "rank-03-of-16.safetensors");
  EXPECT_EQ(rank_file_name(3, 4, 1, 12), "rank-03-of-04-00002-of-00012.safetensors");
  EXPECT_EQ(rank_manifest_name(0, 2), "rank-00-of-02.manifest.json");
}

TEST_F(ShardedFolderTest, RefusesWhatIsNotOurs) {
  EXPECT_NE(refusal("{"), "");
  EXPECT_EQ(refusal("{}"), "/sharding.json: is not of version 1");
  EXPECT_EQ(refusal("/version", 2), "/sharding.json: is not of version 1");
  EXPECT_EQ(refusal("/ranks", 0), "/sharding.json: \"ranks\" is not a number in [1, 1024]");
  EXPECT_EQ(refusal("/moe_ep", -1), "/sharding.json: \"moe_ep\" is not a number in [1, 1024]");
  EXPECT_EQ(refusal("/slices", 6), "/sharding.json: 2 ranks, --moe-ep 4, --slices 6 do not fit each other");
  EXPECT_EQ(refusal("/source", 1), "/sharding.json: is not an object");
  EXPECT_EQ(refusal("/source/weights/0/rank_bytes", Json::array({1})),
            "/sharding.json: \"rank_bytes\" are not those of 2 ranks");
  EXPECT_EQ(refusal("/source/weights/0/dtype", "int5"),
            "/sharding.json: \"o_proj\" is stored as an unknown type");
  EXPECT_EQ(refusal("/files", Json::array({Json::array({1})})), "/sharding.json: is not an object");
  EXPECT_EQ(refusal("/files/0", Json::array()), "/sharding.json: a rank has no list of 1 to 4096 files");
  EXPECT_EQ(refusal("/files/1/0/name", "rank-../../x.safetensors"),
            "/sharding.json: \"rank-../../x.safetensors\" is not the name of a rank's file");
  EXPECT_EQ(refusal("/files/1/0/bytes", "many"),
            "/sharding.json: \"bytes\" is not a number in [1, 1125899906842624]");
  Json one = *parse_json(write_sharding(two_ranks()), "", {});
  one["files"].erase(1);
  EXPECT_EQ(refusal(dump_json(one)), "/sharding.json: \"files\" are not those of 2 ranks");
}

}  // namespace
}  // namespace fathom
