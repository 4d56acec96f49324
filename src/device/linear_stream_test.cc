#include "device/linear_stream.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace fathom {
namespace {

std::vector<kernels::LinearParams> ran;

const kernels::Kernel<kernels::LinearParams> kRecord = {
    .name = "record", .run = [](const kernels::LinearParams& params) { ran.push_back(params); }};

class LinearStreamTest : public ::testing::Test {
 protected:
  LinearStreamTest() { ran.clear(); }

  // Panels [begin, end) of a matrix with 100 inputs of a byte: 128 of them padded, 2 KiB a panel.
  kernels::LinearParams panels(int64_t begin, int64_t end) const {
    return {.panels = weights_.data(),
            .format = kernels::PanelFormat::kInt8,
            .num_inputs = 100,
            .begin = begin,
            .end = end};
  }

  std::array<char, 16 * 2048> weights_{};
};

TEST_F(LinearStreamTest, RunsEachOnceInOrderWhenTheNextIsKnown) {
  {
    LinearStream linears;
    linears.add(kRecord, panels(0, 4));
    EXPECT_EQ(ran.size(), 0u);
    linears.add(kRecord, panels(8, 12));
    EXPECT_EQ(ran.size(), 1u);
    linears.add(kRecord, panels(5, 6));
    EXPECT_EQ(ran.size(), 2u);
  }
  ASSERT_EQ(ran.size(), 3u);
  EXPECT_EQ(ran[0].begin, 0);
  EXPECT_EQ(ran[1].begin, 8);
  EXPECT_EQ(ran[2].begin, 5);
}

TEST_F(LinearStreamTest, SaysWhatIsReadNext) {
  LinearStream linears;
  linears.add(kRecord, panels(0, 4));
  linears.add(kRecord, panels(8, 12));
  linears.add(kRecord, panels(5, 6));
  linears.finish();
  ASSERT_EQ(ran.size(), 3u);
  EXPECT_EQ(ran[0].next_panels, weights_.data() + 8 * 2048);
  EXPECT_EQ(ran[0].next_bytes, 2 * 2048);
  EXPECT_EQ(ran[1].next_panels, weights_.data() + 5 * 2048);
  EXPECT_EQ(ran[1].next_bytes, 2048);  // no more than there are
  EXPECT_EQ(ran[2].next_panels, nullptr);
}

TEST_F(LinearStreamTest, GoesOnAfterFinishing) {
  LinearStream linears;
  linears.add(kRecord, panels(0, 1));
  linears.finish();
  linears.finish();
  EXPECT_EQ(ran.size(), 1u);
  linears.add(kRecord, panels(1, 2));
  linears.finish();
  EXPECT_EQ(ran.size(), 2u);
}

}  // namespace
}  // namespace fathom
