#include "checkpoint/shard_writer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "checkpoint/safetensors.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

using testing::TempDir;

std::vector<std::byte> bytes_of(size_t size, int seed) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < size; ++i)
    bytes.push_back(static_cast<std::byte>(i * 31 + static_cast<size_t>(seed)));
  return bytes;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(ShardWriter, WritesFilesInTheirOrder) {
  TempDir dir;
  std::vector<WrittenShard> written;
  {
    ShardWriter writer(2);
    for (int file = 0; file < 5; ++file) {
      const TensorDeclaration tensors[] = {{"a", DType::kFloat32, {100}}, {"b", DType::kUint8, {7, 3}}};
      ASSERT_TRUE(writer.begin(dir.file(fmt::format("{}.safetensors", file)), tensors).ok());
      const auto a = bytes_of(400, file);
      ASSERT_TRUE(writer.write(1, bytes_of(21, file)).ok());
      for (size_t begin = 0; begin < 400; begin += 150) {
        std::vector<std::byte> piece = writer.take_buffer();
        piece.assign(a.begin() + static_cast<long>(begin),
                     a.begin() + static_cast<long>(std::min<size_t>(begin + 150, 400)));
        ASSERT_TRUE(writer.write(0, std::move(piece)).ok());
      }
      ASSERT_TRUE(writer
                      .end([&written](const WrittenShard& shard) {
                        written.push_back(shard);
                        return ok_status();
                      })
                      .ok());
    }
    const Status status = writer.finish();
    ASSERT_TRUE(status.ok()) << status.message();
  }
  ASSERT_EQ(written.size(), 5u);
  for (int i = 0; i < 5; ++i) {
    const auto file = SafetensorsFile::open(dir.file(fmt::format("{}.safetensors", i)));
    ASSERT_TRUE(file.ok()) << file.status().message();
    const WrittenShard& shard = written[static_cast<size_t>(i)];
    const auto all = (*file)->file().bytes();
    EXPECT_EQ(shard.file_bytes, all.size());
    EXPECT_EQ(shard.header_checksum, checksum_of(text_of(all.first(shard.header_bytes))));
    ASSERT_EQ(shard.tensor_checksums.size(), 2u);
    EXPECT_EQ(shard.tensor_checksums[0], checksum_of(text_of(bytes_of(400, i))));
    EXPECT_EQ(shard.tensor_checksums[1], checksum_of(text_of(bytes_of(21, i))));
    const auto view = (*file)->tensor("a");
    EXPECT_EQ(text_of(bytes_of(400, i)),
              std::string_view(static_cast<const char*>(view->data), view->num_bytes()));
  }
}

// An error of any step comes out, and no buffer is lost by it.
TEST(ShardWriter, ErrorsComeOutAndNothingHalfStays) {
  TempDir dir;
  {
    ShardWriter writer(1);
    EXPECT_FALSE(writer.begin(dir.file("no/such/folder.safetensors"), {}).ok());
  }
  {
    ShardWriter writer(1);
    const TensorDeclaration tensors[] = {{"a", DType::kUint8, {8}}};
    ASSERT_TRUE(writer.begin(dir.file("refused.safetensors"), tensors).ok());
    std::vector<std::byte> piece = writer.take_buffer();
    piece.resize(8);
    ASSERT_TRUE(writer.write(0, std::move(piece)).ok());
    (void)writer.end([](const WrittenShard&) { return io_error("no record"); });
    EXPECT_EQ(writer.finish().message(), "no record");
    EXPECT_EQ(writer.begin(dir.file("next.safetensors"), tensors).message(), "no record");
    EXPECT_EQ(writer.take_buffer().size(), 8u);
  }
  {
    ShardWriter writer(1);
    const TensorDeclaration tensors[] = {{"a", DType::kUint8, {8}}};
    ASSERT_TRUE(writer.begin(dir.file("half.safetensors"), tensors).ok());
    std::vector<std::byte> piece = writer.take_buffer();
    piece.resize(3);
    ASSERT_TRUE(writer.write(0, std::move(piece)).ok());
  }
  EXPECT_FALSE(path_exists(dir.file("half.safetensors")));
  EXPECT_FALSE(path_exists(dir.file("half.safetensors.partial")));
}

}  // namespace
}  // namespace fathom
