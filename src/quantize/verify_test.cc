#include "quantize/verify.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/random.h"
#include "checkpoint/manifest.h"
#include "quantize/quantize.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

using testing::TempDir;

class VerifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_tiny_checkpoint({testing::tiny_config(), dir_.file("source")});
    dir_.write("source/tokenizer.json", R"({"model": 1})");
    QuantizeOptions options;
    options.source = dir_.file("source");
    options.destination = folder_;
    options.shard_bytes = 8192;
    options.recipe.mix = {{"experts", QuantType::kW4A16}};
    const auto result = quantize(options, nullptr);
    ASSERT_TRUE(result.ok()) << result.status().message();
  }
  VerifyResult verify() {
    const auto result = verify_model({.directory = folder_, .ranks = {}, .num_threads = 2}, nullptr);
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? *result : VerifyResult();
  }
  void flip(const std::string& name, uint64_t bit) {
    std::fstream file(join_path(folder_, name), std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(bit / 8));
    const char changed = static_cast<char>(file.get() ^ (1 << bit % 8));
    file.seekp(static_cast<std::streamoff>(bit / 8));
    file.put(changed);
  }
  TempDir dir_;
  std::string folder_ = dir_.file("out");
};

TEST_F(VerifyTest, WhatIsWholePasses) {
  const VerifyResult result = verify();
  EXPECT_TRUE(result.has_checksums);
  EXPECT_TRUE(result.damages.empty());
  uint64_t num_files = 0, num_bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().filename() == kManifestName) continue;
    ++num_files;
    num_bytes += entry.file_size();
  }
  EXPECT_EQ(result.num_files, num_files);
  EXPECT_EQ(result.num_bytes, num_bytes);
}

// In every file: the first and last bit, and bits all over.
TEST_F(VerifyTest, OneFlippedBitIsFound) {
  constexpr uint64_t kSeed = 11;
  uint64_t counter = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    const uint64_t num_bits = entry.file_size() * 8;
    ASSERT_GT(num_bits, 0u) << name;
    std::vector<uint64_t> bits = {0, num_bits - 1};
    for (int i = 0; i < 30; ++i) bits.push_back(random_bits(kSeed, counter++) % num_bits);
    for (uint64_t bit : bits) {
      flip(name, bit);
      const VerifyResult result = verify();
      ASSERT_EQ(result.damages.size(), 1u) << name << " bit " << bit;
      EXPECT_EQ(result.damages[0].file, name);
      flip(name, bit);
    }
  }
  EXPECT_TRUE(verify().damages.empty());
}

TEST_F(VerifyTest, NamesTheTensor) {
  const auto manifest = parse_manifest(*read_file(join_path(folder_, kManifestName), 1 << 24), "m");
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  const ManifestFile& file = manifest->files[1];
  uint64_t offset = file.header_bytes;
  for (const ManifestTensor& tensor : file.tensors) {
    flip(file.name, offset * 8 + 3);
    const VerifyResult result = verify();
    ASSERT_EQ(result.damages.size(), 1u);
    EXPECT_EQ(result.damages[0].tensor, tensor.name);
    EXPECT_EQ(result.damages[0].what, "the bytes do not have the checksum of the manifest");
    flip(file.name, offset * 8 + 3);
    offset += tensor.bytes;
  }
  flip(file.name, 8 * 20);
  EXPECT_EQ(verify().damages[0].what, "the header's bytes do not have the checksum of the manifest");
}

TEST_F(VerifyTest, MissingExtraCutAndSeveralAtOnce) {
  const auto manifest = parse_manifest(*read_file(join_path(folder_, kManifestName), 1 << 24), "m");
  ASSERT_GE(manifest->files.size(), 3u);
  fs::remove(join_path(folder_, manifest->files[0].name));
  fs::resize_file(join_path(folder_, manifest->files[1].name), 100);
  fs::remove(join_path(folder_, "tokenizer.json"));
  fs::copy(dir_.file("source/model.safetensors"), join_path(folder_, "model.safetensors"));
  const VerifyResult result = verify();
  ASSERT_EQ(result.damages.size(), 4u);
  EXPECT_EQ(result.damages[0].what, "the file is missing");
  EXPECT_EQ(result.damages[1].what,
            fmt::format("the file has 100 bytes, {} in the manifest", manifest->files[1].bytes));
  EXPECT_EQ(result.damages[2].file, "tokenizer.json");
  EXPECT_EQ(result.damages[3].file, "model.safetensors");
}

TEST_F(VerifyTest, WithoutAManifestHeadersCount) {
  fs::remove(join_path(folder_, kManifestName));
  VerifyResult result = verify();
  EXPECT_FALSE(result.has_checksums);
  EXPECT_TRUE(result.damages.empty());
  EXPECT_GT(result.num_tensors, 0u);
  fs::remove(join_path(folder_, "quant_model_description_w8a8_dynamic.json"));
  result = verify();
  ASSERT_EQ(result.damages.size(), 1u);
  EXPECT_FALSE(verify_model({.directory = dir_.file("nowhere"), .ranks = {}}, nullptr).ok());
}

// Any bytes with a right checksum of their own give an answer, never a crash.
TEST(Manifest, WrongContentIsRefused) {
  const ManifestFile file = {"a.safetensors", 30, 10, "h", {{"t", 15, "x"}, {"u", 5, "y"}}};
  const std::string text = write_manifest({Json::object(), {file, {"b.json", 4, 0, "z", {}}}});
  const auto read = parse_manifest(text, "m");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->files.size(), 2u);
  EXPECT_EQ(read->files[0], file);
  EXPECT_EQ(parse_manifest(text + " ", "m").status().message(), "m: does not agree with its own checksum");
  EXPECT_FALSE(parse_manifest("", "m").ok());
  for (const char* name : {"../x", "/etc/passwd", "a/b", "", ".records"}) {
    ManifestFile wrong = file;
    wrong.name = name;
    EXPECT_FALSE(manifest_file_from_json(to_json(wrong), "m").ok()) << name;
  }
  ManifestFile wrong = file;
  wrong.tensors[0].bytes = UINT64_MAX - 3;
  EXPECT_FALSE(manifest_file_from_json(to_json(wrong), "m").ok());
  wrong = file;
  wrong.bytes = 31;
  EXPECT_EQ(manifest_file_from_json(to_json(wrong), "m").status().message(),
            "m: header and tensors do not fill the file's 31 bytes");
  for (const char* json : {"1", "[]", "{}", R"({"name":1})", R"({"name":"a","bytes":-1})",
                           R"({"name":"a","bytes":1})", R"({"name":"a","bytes":1,"tensors":3})",
                           R"({"name":"a","bytes":1,"header_bytes":1,"header_xxh3":"","tensors":[1]})"}) {
    EXPECT_FALSE(manifest_file_from_json(Json::parse(json), "m").ok()) << json;
  }
}

}  // namespace
}  // namespace fathom
