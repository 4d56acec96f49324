#include "server/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "server/server_metrics.h"

namespace fathom {
namespace {

TEST(Metrics, HistogramCountsUpToItsBounds) {
  Histogram histogram({1, 2});
  for (double value : {0.5, 1.0, 1.5, 2.0, 2.5}) histogram.observe(value);
  EXPECT_EQ(histogram.counts(), (std::vector<uint64_t>{2, 2, 1}));
  MetricsText text("p:", {{"m", "a\"b\\c\nd"}});
  text.histogram("h", "Help.", histogram);
  text.family("g", "gauge", "Gauge.");
  text.sample(0.25, {{"k", "v"}});
  const std::string label = R"(m="a\"b\\c\nd")";
  EXPECT_EQ(text.take(), "# HELP p:h Help.\n# TYPE p:h histogram\np:h_bucket{" + label +
                             ",le=\"1\"} 2\np:h_bucket{" + label + ",le=\"2\"} 4\np:h_bucket{" + label +
                             ",le=\"+Inf\"} 5\np:h_sum{" + label + "} 7.5\np:h_count{" + label +
                             "} 5\n# HELP p:g Gauge.\n# TYPE p:g gauge\np:g{" + label + ",k=\"v\"} 0.25\n");
}

TEST(Metrics, OneTwoFive) {
  EXPECT_EQ(one_two_five(20), (std::vector<double>{1, 2, 5, 10, 20}));
  EXPECT_EQ(one_two_five(0), (std::vector<double>{1}));
}

// Each family once, each sample behind its family.
TEST(Metrics, TextIsWellFormed) {
  ServerMetrics metrics;
  metrics.set_model("m", 100, 16);
  metrics.http_request("/a", "GET", 200, 0.1);
  metrics.http_request("/b", "POST", 404, 0.1);
  const std::string text = metrics.render("x", {}, 3);
  std::vector<std::string> families;
  for (size_t begin = 0; begin < text.size();) {
    const std::string line = text.substr(begin, text.find('\n', begin) - begin);
    begin += line.size() + 1;
    if (line.starts_with("# TYPE ")) {
      families.push_back(line.substr(7, line.find(' ', 7) - 7));
    } else if (!line.starts_with("# HELP ")) {
      ASSERT_FALSE(families.empty());
      EXPECT_TRUE(line.starts_with(families.back())) << line;
    }
  }
  std::sort(families.begin(), families.end());
  EXPECT_EQ(std::adjacent_find(families.begin(), families.end()), families.end());
  EXPECT_NE(text.find("x:num_requests_waiting{model_name=\"m\"} 3\n"), std::string::npos);
}

TEST(Metrics, LifeOfASequence) {
  ServerMetrics metrics;
  SequenceTimes times{.submitted = 10, .prompt_tokens = 7};
  times.started = 11;
  metrics.sequence_started(times);
  metrics.token(times, 3, 12);
  metrics.token(times, 0, 12.5);
  metrics.sequence_ended(times, {.time = 12.5, .finish_reason = FinishReason::kStop});
  const std::string text = metrics.render("x", {}, 0);
  for (const char* line :
       {"prompt_tokens_total{model_name=\"\"} 4\n", "prefix_cache_hits_total{model_name=\"\"} 3\n",
        "generation_tokens_total{model_name=\"\"} 2\n",
        "time_to_first_token_seconds_sum{model_name=\"\"} 2\n",
        "inter_token_latency_seconds_sum{model_name=\"\"} 0.5\n",
        "e2e_request_latency_seconds_sum{model_name=\"\"} 2.5\n",
        "request_queue_time_seconds_sum{model_name=\"\"} 1\n",
        "request_inference_time_seconds_sum{model_name=\"\"} 1.5\n", "finished_reason=\"stop\"} 1\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace fathom
