#include "checkpoint/tensor_stream.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "support/raw_safetensors.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

using testing::raw_entry;
using testing::raw_safetensors;
using testing::TempDir;

constexpr int kTensors = 40;

// Two shards of tensors t0 ... t39 of 1 to 40 kB.
class TensorStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string map;
    for (int shard = 0; shard < 2; ++shard) {
      std::string header = "{";
      size_t end = 0;
      for (int i = shard; i < kTensors; i += 2) {
        const size_t size = size_of(i);
        header += (end > 0 ? "," : "") + raw_entry(name_of(i), "I8", fmt::format("[{}]", size),
                                                   fmt::format("[{},{}]", end, end + size));
        end += size;
        map += fmt::format(R"({}"{}":"{}.safetensors")", map.empty() ? "" : ",", name_of(i), shard);
        names_.push_back(name_of(i));
      }
      dir_.write(fmt::format("{}.safetensors", shard), raw_safetensors(header + "}", end));
    }
    dir_.write("model.safetensors.index.json", R"({"metadata":{},"weight_map":{)" + map + "}}");
    auto checkpoint = Checkpoint::open(dir_.path());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    checkpoint_ = std::move(checkpoint).value();
  }
  static std::string name_of(int i) { return fmt::format("t{}", i); }
  static size_t size_of(int i) { return static_cast<size_t>(1000 + 977 * i); }

  void expect_data(const std::string& name, const std::byte* data) const {
    const auto view = checkpoint_->tensor(name);
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(std::memcmp(data, view->data, view->num_bytes()), 0) << name;
  }

  TempDir dir_;
  std::vector<std::string> names_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(TensorStreamTest, GivesEveryTensorWhateverFitsAtOnce) {
  for (const size_t max_bytes : {size_t{0}, size_t{50'000}, size_t{10} << 20}) {
    TensorStream stream(*checkpoint_, names_, max_bytes);
    for (const std::string& name : names_) {
      const auto data = stream.take(name);
      ASSERT_TRUE(data.ok()) << data.status().message();
      expect_data(name, *data);
      stream.give_back(name);
    }
  }
}

TEST_F(TensorStreamTest, GivesThemOutOfOrderAndTogether) {
  TensorStream stream(*checkpoint_, names_, 30'000);
  std::vector<const std::byte*> data(names_.size());
  for (size_t first = 0; first < names_.size(); first += 4) {
    for (size_t i = 4; i-- > 0;) {
      const auto taken = stream.take(names_[first + i]);
      ASSERT_TRUE(taken.ok());
      data[first + i] = *taken;
    }
    for (size_t i = first; i < first + 4; ++i) expect_data(names_[i], data[i]);
    for (size_t i = first; i < first + 4; ++i) stream.give_back(names_[i]);
  }
}

TEST_F(TensorStreamTest, MayBeLeftInTheMiddle) {
  TensorStream stream(*checkpoint_, names_, 30'000);
  EXPECT_TRUE(stream.take(names_[3]).ok());
}

TEST_F(TensorStreamTest, NamesAFileThatWasCutMeanwhile) {
  const std::string path = dir_.file("1.safetensors");
  std::filesystem::resize_file(path, 5000);
  TensorStream stream(*checkpoint_, names_, 30'000);
  Status status;
  for (size_t i = 0; i < names_.size() && status.ok(); ++i) {
    const auto data = stream.take(names_[i]);
    status = data.status();
    if (status.ok()) stream.give_back(names_[i]);
  }
  EXPECT_EQ(status.message(), path + ": ended at byte 5000 while it was read");
}

}  // namespace
}  // namespace fathom
