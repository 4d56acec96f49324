#include "load/load_summary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "load/load_report.h"

namespace fathom {
namespace {

// Made with numpy.percentile(values, p), numpy 2.
TEST(Percentile, EqualsNumPy) {
  const std::vector<double> values = {0.5, 1, 4, 9, 16, 25, 36};
  const std::pair<double, double> wanted[] = {{0, 0.5},   {10, 0.8},  {25, 2.5},   {50, 9},
                                              {75, 20.5}, {90, 29.4}, {99, 35.34}, {100, 36}};
  for (const auto& [p, value] : wanted) EXPECT_NEAR(percentile(values, p), value, 1e-12) << p;
  EXPECT_EQ(percentile({}, 50), 0);
  EXPECT_EQ(percentile({3}, 99), 3);
}

// The value below which p percent of the length of the line through all points (i / (n - 1), x_i) lie, found
// by bisection on that line's inverse.
TEST(Percentile, IsTheInverseOfTheLineThroughAllPoints) {
  for (size_t count : {2u, 3u, 10u, 101u}) {
    std::vector<double> values;
    for (size_t i = 0; i < count; ++i) values.push_back(random_uniform(count, i));
    std::sort(values.begin(), values.end());
    for (double p : {0.1, 33.3, 50.0, 99.0, 99.9}) {
      const double found = percentile(values, p);
      const auto above = std::upper_bound(values.begin(), values.end(), found);
      const auto i = static_cast<size_t>(above - values.begin()) - 1;
      const double share =
          (static_cast<double>(i) + (i + 1 < count ? (found - values[i]) / (values[i + 1] - values[i]) : 0)) /
          static_cast<double>(count - 1);
      EXPECT_NEAR(share * 100, p, 1e-9);
    }
  }
}

LoadRecord record(double arrival, double start, double ttft, std::vector<double> itls, int64_t input,
                  int64_t output) {
  LoadRecord one{.arrival = arrival,
                 .start = start,
                 .ttft = ttft,
                 .itls = std::move(itls),
                 .input_len = input,
                 .output_len = output};
  one.latency = ttft;
  for (double itl : one.itls) one.latency += itl;
  return one;
}

LoadResult three_and_a_failure() {
  LoadResult result{.duration = 4};
  result.records = {record(0, 0, 0.5, {0.25, 0.25}, 10, 3), record(0.5, 1, 1, {1}, 20, 2),
                    record(1, 2, 0.25, {}, 30, 1)};
  result.records.push_back({.error = "gone", .input_len = 1000, .output_len = 1000});
  return result;
}

TEST(LoadSummary, CountsByHand) {
  const LoadSummary summary = summarise(
      three_and_a_failure(), {.percentiles = {50, 99.9}, .goodput = {{"ttft", 600}, {"tpot", 250}}});
  EXPECT_EQ(summary.completed, 3);
  EXPECT_EQ(summary.failed, 1);
  EXPECT_EQ(summary.total_input, 60);
  EXPECT_EQ(summary.total_output, 6);
  EXPECT_EQ(summary.request_throughput, 0.75);
  EXPECT_EQ(summary.output_throughput, 1.5);
  EXPECT_EQ(summary.total_token_throughput, 16.5);
  EXPECT_EQ(summary.request_goodput, 0.5);  // the second is late
  // Chunks at 0.5, 0.75, 1.0, 2.0, 3.0, 2.25.
  EXPECT_EQ(summary.max_output_tokens_per_s, 2);
  // [0, 1), [1, 3), [2, 2.25).
  EXPECT_EQ(summary.max_concurrent_requests, 2);
  const LatencySpread& ttft = summary.spreads.at("ttft");
  EXPECT_NEAR(ttft.mean, 1750.0 / 3, 1e-9);
  EXPECT_EQ(ttft.median, 500);
  EXPECT_NEAR(ttft.std, std::sqrt((500.0 * 500 + 1000.0 * 1000 + 250.0 * 250) / 3 - std::pow(1750.0 / 3, 2)),
              1e-9);
  EXPECT_EQ(summary.spreads.at("tpot").mean, (250 + 1000) / 2.0);  // one token has no time per further one
  EXPECT_EQ(summary.spreads.at("itl").mean, 500);
  EXPECT_EQ(summary.spreads.at("client_queue_time").mean, 500);
  EXPECT_EQ(summary.spreads.at("e2el_including_client_queue").median, 1250);
}

TEST(LoadSummary, OfNothing) {
  const LoadSummary summary = summarise({.duration = 1, .records = {{.error = "gone"}}}, {});
  EXPECT_EQ(summary.completed, 0);
  EXPECT_EQ(summary.spreads.at("itl").mean, 0);
  EXPECT_FALSE(summary.request_goodput);
}

TEST(LoadReport, KeysAsVllm) {
  const LoadResult result = three_and_a_failure();
  const LoadSummary summary = summarise(result, {.percentiles = {50, 99.9}});
  const LoadInfo info{
      .backend = "openai", .num_prompts = 4, .metrics = {"ttft"}, .metadata = {{"gpu", "none"}}};
  const LoadOptions options{.model = "org/demo", .max_concurrency = 8};
  const Json json = load_json(info, options, result, summary, Detail::kEveryRequest);
  EXPECT_EQ(json["request_rate"], "inf");
  EXPECT_EQ(json["gpu"], "none");
  EXPECT_EQ(json["p99.9_ttft_ms"].get<double>(), summary.spreads.at("ttft").percentiles[1].second);
  EXPECT_TRUE(json.contains("p50_ttft_ms"));
  EXPECT_FALSE(json.contains("mean_itl_ms"));
  EXPECT_EQ(json["itls"].size(), 4u);
  EXPECT_EQ(json["errors"][3], "gone");
  EXPECT_FALSE(load_json(info, options, result, summary, Detail::kSummary).contains("itls"));
  EXPECT_TRUE(load_file_name(info, options).starts_with("openai-infqps-concurrency8-demo-"));
  EXPECT_TRUE(load_file_name(info, {.model = "m", .request_rate = 2}).starts_with("openai-2.0qps-m-"));
  const std::string table = load_table(info, options, result, summary);
  EXPECT_NE(table.find("============ Serving Benchmark Result ============\n"), std::string::npos);
  EXPECT_NE(table.find("---------------Time to First Token----------------\n"), std::string::npos);
  EXPECT_NE(table.find("P99.9 TTFT (ms):"), std::string::npos);
}

TEST(LoadReport, PageHoldsNothingFromOutside) {
  LoadResult result = three_and_a_failure();
  result.records[3].error = "<script>";
  const LoadSummary summary = summarise(result, {});
  const std::string page = load_html({.metrics = {"ttft", "itl"}}, {.model = "demo"}, result, summary);
  for (const char* word : {"<script", "http://", "https://", "src=", "url(", "nan"}) {
    EXPECT_EQ(page.find(word), std::string::npos) << word;
  }
  EXPECT_NE(page.find("&lt;script&gt;"), std::string::npos);
  EXPECT_NE(page.find("<polyline"), std::string::npos);
}

}  // namespace
}  // namespace fathom
