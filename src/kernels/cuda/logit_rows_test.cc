// Records of rows of logits on the emulated device against a full sort and sums one by one, bit for bit.
#include <algorithm>
#include <functional>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/kernels.h"
#include "kernels/test_support.h"

namespace fathom::kernels::cuda_emulated {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What a launch writes, and the rows it reads, with NaN behind their width.
struct Records {
  Records(const std::vector<std::vector<float>>& rows, const std::vector<RowQuery>& queries) {
    const size_t width = rows[0].size(), stride = width + 3;
    const auto groups = static_cast<size_t>(cuda::num_sum_groups(static_cast<int64_t>(width)));
    std::vector<float> logits(rows.size() * stride, kNaN);
    for (size_t i = 0; i < rows.size(); ++i)
      std::copy(rows[i].begin(), rows[i].end(), logits.begin() + static_cast<std::ptrdiff_t>(i * stride));
    for (const RowQuery& query : queries)
      head_stride = std::max(head_stride, static_cast<size_t>(query.head));
    std::vector<uint32_t> block_peaks(queries.size() * groups * kBlocksPerGroup, 0xabababab);
    std::vector<uint32_t> group_peaks(queries.size() * groups, 0xabababab);
    std::vector<double> group_sums(queries.size() * groups, std::nan(""));
    records.resize(queries.size(), {.total = -1, .peak_id = -7, .num_head = -1});
    heads.resize(queries.size() * head_stride, 0xcd);
    EXPECT_EQ(logit_rows({.logits = logits.data(),
                          .queries = queries.data(),
                          .records = records.data(),
                          .heads = heads.data(),
                          .block_peaks = block_peaks.data(),
                          .group_peaks = group_peaks.data(),
                          .group_sums = group_sums.data(),
                          .stride = static_cast<int64_t>(stride),
                          .width = static_cast<int64_t>(width),
                          .head_stride = static_cast<int64_t>(head_stride),
                          .num_rows = static_cast<int64_t>(queries.size()),
                          .wants_sums = std::any_of(
                              queries.begin(), queries.end(),
                              [](const RowQuery& query) { return query.inverse_temperature > 0; })},
                         nullptr),
              0);
  }
  std::vector<uint64_t> head(size_t i) const {
    const auto begin = heads.begin() + static_cast<std::ptrdiff_t>(i * head_stride);
    return {begin, begin + records[i].num_head};
  }

  size_t head_stride = 0;
  std::vector<RowRecord> records;
  std::vector<uint64_t> heads;
};

// All of a row's usable tokens in order of rank.
std::vector<uint64_t> sorted_ranks(const std::vector<float>& row) {
  std::vector<uint64_t> ranks;
  for (size_t i = 0; i < row.size(); ++i)
    if (row[i] != -kInfinity) ranks.push_back(make_rank(row[i], static_cast<uint32_t>(i)));
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

void check_sums(const std::vector<float>& row, const RowQuery& query, const RowRecord& got) {
  RunningSum all, some;
  int32_t drawn = -1;
  const auto weight = [&](size_t i) { return logit_weight(row[i], got.peak, query.inverse_temperature); };
  for (size_t i = 0; i < row.size(); ++i) all.add(static_cast<int64_t>(i), weight(i));
  ASSERT_EQ(got.total, all.value());
  for (size_t i = 0; i < row.size() && query.u >= 0 && drawn < 0; ++i) {
    some.add(static_cast<int64_t>(i), weight(i));
    if (some.value() > query.u * all.value()) drawn = static_cast<int32_t>(i);
  }
  ASSERT_EQ(got.drawn_id, drawn);
}

// num_head: how many the head must have at least.
void check(const std::vector<float>& row, const RowQuery& query, const RowRecord& got,
           const std::vector<uint64_t>& head, size_t num_head) {
  const std::vector<uint64_t> ranks = sorted_ranks(row);
  ASSERT_EQ(got.peak_id, static_cast<int32_t>(rank_id(ranks[0])));
  ASSERT_EQ(float_to_bits(got.peak), float_to_bits(row[rank_id(ranks[0])]));  // -0 too
  ASSERT_GE(head.size(), num_head);
  ASSERT_LE(head.size(), static_cast<size_t>(query.head));
  for (size_t i = 0; i < head.size(); ++i) ASSERT_EQ(head[i], ranks[i]) << i;
  // A head that was not to have fewer tokens than there are blocks knows whether it has all.
  if (head.size() < ranks.size()) {
    ASSERT_EQ(got.has_all, 0);
  } else if (static_cast<size_t>(query.head) * kSumBlock > row.size() + kSumBlock) {
    ASSERT_EQ(got.has_all, 1);
  }
  if (query.inverse_temperature > 0) {
    ASSERT_NO_FATAL_FAILURE(check_sums(row, query, got));
  }
}

struct Kind {
  const char* name;
  std::function<float(Values&, size_t)> logit;
  size_t head = kMaxHead;  // of a long row, at least; less where likely tokens are many or neighbours
};
const Kind kKinds[] = {
    {"spread", [](Values& values, size_t) { return values.next() * 12; }},
    {"ties", [](Values& values, size_t) { return std::nearbyint(values.next() * 30) / 4; }},
    {"zeros", [](Values& values, size_t) { return values.next() < 0 ? -0.0f : 0.0f; }, 0},
    {"equal", [](Values&, size_t) { return -3.5f; }, 0},
    {"negative", [](Values& values, size_t) { return values.next() - 50; }},
    {"ends of float", [](Values& values, size_t) { return values.next() * kLargestFloat; }},
    {"some infinite", [](Values& values, size_t i) { return i % 3 == 1 ? -kInfinity : values.next() * 9; }},
    {"first ids", [](Values& values, size_t i) { return values.next() - static_cast<float>(i) * 0.01f; },
     256},
    {"last id", [](Values& values, size_t i) { return values.next() * 1e-3f + static_cast<float>(i); }, 256},
};

TEST(CudaLogitRows, EqualASortAndSumsOneByOne) {
  for (const size_t width :
       {size_t{1}, size_t{33}, size_t{1024}, size_t{5001}, size_t{8192}, size_t{40000}}) {
    for (const Kind& kind : kKinds) {
      Values values(width);
      std::vector<float> row;
      for (size_t i = 0; i < width; ++i) row.push_back(kind.logit(values, i));
      std::vector<RowQuery> queries;
      for (const int32_t head : {0, 1, 40, kMaxHead}) queries.push_back({.row = 0, .head = head});
      queries.push_back({.row = 0, .inverse_temperature = 1 / 0.7, .u = 0.0, .head = 7});
      queries.push_back({.row = 0, .inverse_temperature = 1, .u = 0.37});
      queries.push_back({.row = 0, .inverse_temperature = 0.5, .u = 1 - 0x1p-53});
      const Records got({row}, queries);
      const size_t longest = std::min(sorted_ranks(row).size(), width > 8192 ? kind.head : width);
      for (size_t i = 0; i < queries.size(); ++i)
        ASSERT_NO_FATAL_FAILURE(check(row, queries[i], got.records[i], got.head(i),
                                      std::min(longest, static_cast<size_t>(queries[i].head))))
            << kind.name << " of " << width << ", query " << i;
    }
  }
}

// The model's own vocabulary; and heads of a row whose equals are more than can be sorted.
TEST(CudaLogitRows, WholeVocabulary) {
  Values values(1);
  std::vector<std::vector<float>> rows(3, std::vector<float>(102400));
  for (float& logit : rows[0]) logit = values.next() + values.next() * values.next() * 20;
  for (float& logit : rows[1]) logit = values.next() < 0.8f ? 0.5f : 0.25f;
  for (float& logit : rows[2]) logit = values.next() * 5;
  const std::vector<RowQuery> queries = {{.row = 2, .head = kMaxHead},
                                         {.row = 0, .inverse_temperature = 1.25, .u = 0.9, .head = kMaxHead},
                                         {.row = 1, .inverse_temperature = 1, .u = 0.5, .head = 40},
                                         {.row = 2, .inverse_temperature = 3, .u = 0.01, .head = 40}};
  const Records got(rows, queries);
  for (size_t i = 0; i < queries.size(); ++i) {
    const auto row = static_cast<size_t>(queries[i].row);
    const size_t least = row == 1 ? 0 : static_cast<size_t>(queries[i].head);
    ASSERT_NO_FATAL_FAILURE(check(rows[row], queries[i], got.records[i], got.head(i), least)) << i;
  }
  EXPECT_EQ(got.records[2].num_head, 0);
}

TEST(CudaLogitRows, SaysWhichRowsAreNotUsable) {
  for (const size_t width : {size_t{1}, size_t{100}, size_t{3000}}) {
    const std::vector<float> good(width, 1.0f);
    std::vector<std::vector<float>> rows = {good, std::vector<float>(width, -kInfinity)};
    for (const float bad : {kInfinity, kNaN, -kNaN}) {
      for (const size_t at : {size_t{0}, width / 2, width - 1}) {
        rows.push_back(good);
        rows.back()[at] = bad;
      }
    }
    std::vector<RowQuery> queries;
    for (size_t i = 0; i < rows.size(); ++i)
      queries.push_back(
          {.row = static_cast<int64_t>(i), .inverse_temperature = 1, .u = 0.5, .head = kMaxHead});
    const Records got(rows, queries);
    EXPECT_EQ(got.records[0].peak_id, 0);
    for (size_t i = 1; i < rows.size(); ++i) EXPECT_EQ(got.records[i].peak_id, -1) << i << " of " << width;
  }
}

TEST(CudaLogitRows, BothThreadOrdersGiveTheSame) {
  Values values(3);
  std::vector<std::vector<float>> rows(2);
  for (auto& row : rows)
    for (int i = 0; i < 9000; ++i) row.push_back(std::nearbyint(values.next() * 1000) / 50);
  const std::vector<RowQuery> queries = {{.row = 1, .inverse_temperature = 1, .u = 0.7, .head = 200},
                                         {.row = 0, .inverse_temperature = 2, .u = 0.2, .head = 50}};
  const Records forward(rows, queries);
  set_thread_order(ThreadOrder::kBackward);
  const Records backward(rows, queries);
  set_thread_order(ThreadOrder::kForward);
  for (size_t i = 0; i < queries.size(); ++i) {
    EXPECT_EQ(forward.head(i), backward.head(i));
    EXPECT_EQ(forward.records[i].total, backward.records[i].total);
    EXPECT_EQ(forward.records[i].drawn_id, backward.records[i].drawn_id);
    EXPECT_EQ(forward.records[i].peak_id, backward.records[i].peak_id);
  }
}

}  // namespace
}  // namespace fathom::kernels::cuda_emulated
