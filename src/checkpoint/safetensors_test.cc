#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "checkpoint/safetensors_writer.h"
#include "support/raw_safetensors.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

using testing::raw_entry;
using testing::raw_safetensors;
using testing::TempDir;

class SafetensorsTest : public ::testing::Test {
 protected:
  // "" for a file that opens, else the message behind the path.
  std::string refusal(const std::string& bytes) {
    const std::string path = dir_.write("a.safetensors", bytes);
    const auto file = SafetensorsFile::open(path);
    if (file.ok()) return "";
    EXPECT_TRUE(file.status().message().starts_with(path + ": ")) << file.status().message();
    return file.status().message().substr(path.size() + 2);
  }
  std::string refusal(const std::string& header, size_t num_data_bytes) {
    return refusal(raw_safetensors(header, num_data_bytes));
  }
  // The message for using tensor "a" of a file that opens.
  std::string use_refusal(const std::string& header, size_t num_data_bytes) {
    EXPECT_EQ(refusal(header, num_data_bytes), "");
    const auto file = SafetensorsFile::open(dir_.file("a.safetensors"));
    if (!file.ok()) return "does not open";
    const auto view = (*file)->tensor("a");
    return view.ok() ? "" : view.status().message();
  }
  TempDir dir_;
};

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{" + raw_entry("a", dtype, shape, offsets) + "}";
}

TEST_F(SafetensorsTest, WritesWhatItReads) {
  const TensorDeclaration tensors[] = {{"b", DType::kFloat32, {2, 3}},
                                       {"a", DType::kBFloat16, {5}},
                                       {"scalar", DType::kFloat16, Shape()},
                                       {"empty", DType::kInt8, {0, 4}},
                                       {"\"odd\" \xc3\xa9", DType::kInt8, {3}}};
  auto writer = SafetensorsWriter::create(dir_.file("w.safetensors"), tensors);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  std::string data;
  for (int i = 0; i < 24 + 10 + 2 + 3; ++i) data += static_cast<char>(i);
  const auto bytes = std::as_bytes(std::span(data));
  ASSERT_TRUE((*writer)->write(4, 0, bytes.subspan(36, 3)).ok());  // in any order
  ASSERT_TRUE((*writer)->write(0, 7, bytes.subspan(7, 17)).ok());
  ASSERT_TRUE((*writer)->write(0, 0, bytes.first(7)).ok());
  ASSERT_TRUE((*writer)->write(1, 0, bytes.subspan(24, 10)).ok());
  ASSERT_TRUE((*writer)->write(2, 0, bytes.subspan(34, 2)).ok());
  EXPECT_FALSE(file_exists(dir_.file("w.safetensors")));
  ASSERT_TRUE((*writer)->commit().ok());

  const auto file = SafetensorsFile::open(dir_.file("w.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(std::filesystem::file_size(dir_.file("w.safetensors")), SafetensorsWriter::file_bytes(tensors));
  EXPECT_EQ((SafetensorsWriter::file_bytes(tensors) - data.size()) % 64, 0u);
  size_t position = 0;
  for (const TensorDeclaration& tensor : tensors) {
    const auto view = (*file)->tensor(tensor.name);
    ASSERT_TRUE(view.ok()) << view.status().message();
    EXPECT_EQ(view->dtype, tensor.dtype);
    EXPECT_EQ(view->shape, tensor.shape);
    EXPECT_EQ(std::memcmp(view->data, data.data() + position, view->num_bytes()), 0);
    position += view->num_bytes();
  }
  EXPECT_EQ(position, data.size());
}

TEST_F(SafetensorsTest, WriterLeavesNothingWithoutCommit) {
  const TensorDeclaration tensors[] = {{"a", DType::kFloat32, {2}}};
  { auto writer = SafetensorsWriter::create(dir_.file("w.safetensors"), tensors); }
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
  const TensorDeclaration twice[] = {tensors[0], tensors[0]};
  EXPECT_FALSE(SafetensorsWriter::create(dir_.file("w"), twice).ok());
  const TensorDeclaration unaligned[] = {{"a", DType::kInt8, {3}}, {"b", DType::kFloat32, {1}}};
  EXPECT_EQ(SafetensorsWriter::create("w", unaligned).status().message(),
            "w: tensor \"b\" would begin at byte 3, not a multiple of its element size 4");
}

TEST_F(SafetensorsTest, ValidHeaders) {
  EXPECT_EQ(refusal("{}", 0), "");
  EXPECT_EQ(refusal("  {}  ", 0), "");
  EXPECT_EQ(refusal(R"({"__metadata__":{"format":"pt"}})", 0), "");
  EXPECT_EQ(refusal(one("F32", "[2,2]", "[0,16]"), 16), "");
  EXPECT_EQ(refusal(one("F32", "[]", "[0,4]"), 4), "");
  EXPECT_EQ(refusal(one("F32", "[0]", "[0,0]"), 0), "");
  EXPECT_EQ(
      refusal("{" + raw_entry("b", "I8", "[4]", "[4,8]") + "," + raw_entry("a", "I8", "[4]", "[0,4]") + "}",
              8),
      "");
}

TEST_F(SafetensorsTest, LengthBytes) {
  EXPECT_EQ(refusal(""), "file is empty");
  EXPECT_EQ(refusal("1234567"), "7 bytes are too few for a safetensors file");
  std::string file = raw_safetensors("{}", 0);
  file[0] = 3;
  EXPECT_EQ(refusal(file), "header of 3 bytes is longer than the file of 10: the file is cut short");
  const auto with_length = [](uint64_t length) {
    std::string bytes = raw_safetensors("{}", 0);
    std::memcpy(bytes.data(), &length, sizeof(length));
    return bytes;
  };
  EXPECT_NE(refusal(with_length(100'000'000)).find("longer than the file"), std::string::npos);
  EXPECT_NE(refusal(with_length(100'000'001)).find("over the limit of 100000000"), std::string::npos);
  EXPECT_NE(refusal(with_length(UINT64_MAX)).find("over the limit"), std::string::npos);
  EXPECT_NE(refusal(with_length(UINT64_MAX - 7)).find("over the limit"), std::string::npos);
}

TEST_F(SafetensorsTest, GitLfsPointer) {
  EXPECT_EQ(refusal("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 5\n"),
            "this is a Git LFS pointer, not the weights: run git lfs pull in the model folder");
}

TEST_F(SafetensorsTest, HeaderMustHaveTheFormat) {
  for (const char* header : {"",
                             "[]",
                             "3",
                             "null",
                             "\"a\"",
                             "{",
                             "{}}",
                             "{} x",
                             "{\"a\":1}",
                             "{\"a\":[]}",
                             "{\"a\":null}",
                             "{\"a\":{}}",
                             R"({"a":{"dtype":"F32"}})",
                             R"({"a":{"dtype":1,"shape":[],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"I8","shape":{},"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"I8","shape":[[]],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"I8","shape":[-1],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"I8","shape":[0.5],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"I8","shape":[9223372036854775808],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"I8","shape":[0],"data_offsets":[0]}})",
                             R"({"a":{"dtype":"I8","shape":[0],"data_offsets":[0,0,0]}})",
                             R"({"a":{"dtype":"I8","shape":[0],"data_offsets":[0,99999999999999999999]}})",
                             R"({"a":{"dtype":"I8","shape":[0],"data_offsets":[0,0],"more":1}})",
                             R"({"a":{"dtype":"I8","dtype":"I8","shape":[0],"data_offsets":[0,0]}})",
                             R"({"__metadata__":{"a":1}})",
                             R"({"__metadata__":{"a":{}}})",
                             R"({"__metadata__":[]})",
                             R"({"__metadata__":{},"__metadata__":{}})",
                             "{\"\xff\":{}}"}) {
    EXPECT_NE(refusal(header, 0), "") << header;
  }
  EXPECT_NE(refusal(std::string(1 << 20, '['), 0), "");
  EXPECT_NE(refusal(R"({"__metadata__":)" + std::string(1 << 20, '['), 0), "");
  std::string deep = "{";
  for (int i = 0; i < 100000; ++i) deep += "\"a\":{";
  EXPECT_NE(refusal(deep, 0), "");
}

TEST_F(SafetensorsTest, EveryByteBelongsToOneTensor) {
  const auto two = [](const std::string& first, const std::string& second) {
    return "{" + raw_entry("a", "I8", "[4]", first) + "," + raw_entry("b", "I8", "[4]", second) + "}";
  };
  EXPECT_EQ(refusal(two("[0,4]", "[4,8]"), 8), "");
  EXPECT_EQ(refusal(two("[0,4]", "[3,7]"), 7), "tensor \"b\" begins at 3, but the one before it ends at 4");
  EXPECT_EQ(refusal(two("[0,4]", "[0,4]"), 4), "tensor \"b\" begins at 0, but the one before it ends at 4");
  EXPECT_EQ(refusal(two("[0,4]", "[5,9]"), 9), "tensor \"b\" begins at 5, but the one before it ends at 4");
  EXPECT_EQ(refusal(two("[1,5]", "[5,9]"), 9), "tensor \"a\" begins at 1, but the one before it ends at 0");
  EXPECT_EQ(refusal(two("[0,4]", "[4,8]"), 9), "1 bytes follow the last tensor");
  EXPECT_EQ(refusal(two("[0,4]", "[4,8]"), 7),
            "tensor \"b\" lies at [4, 8), outside the file's 7 bytes of data: the file is cut short");
  EXPECT_NE(refusal(two("[4,0]", "[4,8]"), 8), "");
  EXPECT_EQ(
      refusal("{" + raw_entry("a", "I8", "[4]", "[0,4]") + "," + raw_entry("a", "I8", "[4]", "[4,8]") + "}",
              8),
      "tensor \"a\" occurs twice");
}

TEST_F(SafetensorsTest, SizesMustAgree) {
  EXPECT_EQ(refusal(one("F32", "[2]", "[0,7]"), 7),
            "tensor \"a\" has 7 bytes, but its dtype and shape ask for 8");
  EXPECT_EQ(refusal(one("F32", "[2]", "[0,9]"), 9),
            "tensor \"a\" has 9 bytes, but its dtype and shape ask for 8");
  EXPECT_EQ(refusal(one("I8", "[4294967296,4294967296]", "[0,0]"), 0), "shape of tensor \"a\" overflows");
  EXPECT_EQ(refusal(one("I64", "[288230376151711744,8]", "[0,0]"), 0), "shape of tensor \"a\" overflows");
  EXPECT_EQ(refusal(one("F4", "[3]", "[0,2]"), 2), "tensor \"a\" does not end on a byte");
  EXPECT_EQ(refusal(one("F4", "[4]", "[0,2]"), 2), "");
}

TEST_F(SafetensorsTest, WhatWeDoNotUseIsRefusedWhenUsed) {
  EXPECT_NE(use_refusal(one("Q7", "[3]", "[0,2]"), 2).find("has dtype \"Q7\", which is not supported"),
            std::string::npos);
  EXPECT_NE(use_refusal(one("F64", "[1]", "[0,8]"), 8).find("has dtype \"F64\""), std::string::npos);
  EXPECT_NE(refusal(one("Q7", "[3]", "[0,3]"), 2), "");  // an unknown type's offsets are checked all the same
  EXPECT_NE(refusal(one("Q7", "[4294967296,4294967296]", "[0,2]"), 2), "");
  EXPECT_EQ(use_refusal(one("I8", "[1,1,1,2]", "[0,2]"), 2), "");
  EXPECT_NE(use_refusal(one("I8", "[1,1,1,1,2]", "[0,2]"), 2).find("5 dimensions, over the limit of 4"),
            std::string::npos);
  EXPECT_NE(use_refusal("{" + raw_entry("x", "I8", "[2]", "[0,2]") + "}", 2).find("has no tensor \"a\""),
            std::string::npos);
}

TEST_F(SafetensorsTest, UnalignedDataIsRefusedWhenUsed) {
  std::string header = one("F32", "[1]", "[0,4]");
  while (header.size() % 4 != 0) header += ' ';
  EXPECT_EQ(use_refusal(header, 4), "");
  EXPECT_NE(use_refusal(header + " ", 4).find("not a multiple of its element size 4"), std::string::npos);
}

TEST_F(SafetensorsTest, OnlyRegularFiles) {
  EXPECT_EQ(SafetensorsFile::open(dir_.file("none")).status().message(),
            dir_.file("none") + ": no such file");
  EXPECT_EQ(SafetensorsFile::open(dir_.path()).status().message(), dir_.path() + ": not a regular file");
  ASSERT_EQ(::mkfifo(dir_.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(SafetensorsFile::open(dir_.file("pipe")).status().message(),
            dir_.file("pipe") + ": not a regular file");
  EXPECT_FALSE(SafetensorsFile::open("/dev/zero").ok());
}

// A hundred thousand tensors that share the same bytes: little file, little memory, quick answer.
TEST_F(SafetensorsTest, ManyOverlappingTensorsCostLittle) {
  std::string header = "{";
  for (int i = 0; i < 100000; ++i)
    header += (i ? "," : "") + raw_entry(std::to_string(i), "I8", "[4]", "[0,4]");
  EXPECT_NE(refusal(header + "}", 4).find("the one before it ends at 4"), std::string::npos);
  header = "{";
  for (int i = 0; i < 100000; ++i)
    header += (i ? "," : "") + raw_entry(std::to_string(i), "I8", "[0]", "[0,0]");
  EXPECT_EQ(refusal(header + "}", 0), "");
}

TEST_F(SafetensorsTest, LongNamesAreCutInMessages) {
  const std::string message =
      refusal("{" + raw_entry(std::string(100000, 'n'), "I8", "[1]", "[0,2]") + "}", 2);
  EXPECT_LT(message.size(), 300u);
}

}  // namespace
}  // namespace fathom
