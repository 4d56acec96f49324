#include <algorithm>
#include <cmath>

#include "base/html.h"
#include "load/chart.h"
#include "load/load_report.h"

namespace fathom {
namespace {

constexpr double kMilliseconds = 1e3;
constexpr size_t kTimeBins = 120;
using Points = std::vector<std::pair<double, double>>;

std::vector<double> first_tokens(const LoadResult& result) {
  std::vector<double> all;
  for (const LoadRecord& record : result.records) {
    if (record.error.empty()) all.push_back(record.ttft * kMilliseconds);
  }
  return all;
}

std::vector<double> gaps(const LoadResult& result) {
  std::vector<double> all;
  for (const LoadRecord& record : result.records) {
    for (double itl : record.itls) all.push_back(itl * kMilliseconds);
  }
  return all;
}

// Output tokens per second; a request's tokens are spread evenly over its chunks.
Points throughput(const LoadResult& result) {
  const double width = result.duration / kTimeBins;
  std::vector<double> tokens(kTimeBins, 0);
  for (const LoadRecord& record : result.records) {
    if (record.output_len == 0) continue;
    const double each = static_cast<double>(record.output_len) / static_cast<double>(record.itls.size() + 1);
    double time = record.start + record.ttft;
    const auto add = [&] { tokens[std::min(static_cast<size_t>(time / width), kTimeBins - 1)] += each; };
    add();
    for (double itl : record.itls) {
      time += itl;
      add();
    }
  }
  Points points;
  for (size_t i = 0; i < kTimeBins; ++i)
    points.emplace_back(width * (static_cast<double>(i) + 0.5), tokens[i] / width);
  return points;
}

// The mean number of requests under way in each piece of time.
Points concurrency(const LoadResult& result) {
  const double width = result.duration / kTimeBins;
  Points points;
  for (size_t i = 0; i < kTimeBins; ++i) {
    const double begin = width * static_cast<double>(i), end = begin + width;
    double busy = 0;
    for (const LoadRecord& record : result.records) {
      busy += std::max(0.0, std::min(end, record.start + record.latency) - std::max(begin, record.start));
    }
    points.emplace_back((begin + end) / 2, busy / width);
  }
  return points;
}

std::string spread_table(const LoadInfo& info, const LoadSummary& summary) {
  std::string html = "<table><tr><th>ms</th><th class=\"number\">mean</th><th class=\"number\">median</th>";
  const auto& percentiles = summary.spreads.begin()->second.percentiles;
  for (const auto& [p, value] : percentiles) html += fmt::format("<th class=\"number\">P{}</th>", p);
  html += "</tr>\n";
  for (const std::string& metric : info.metrics) {
    const LatencySpread& spread = summary.spreads.at(metric);
    html += fmt::format("<tr><td>{}</td><td class=\"number\">{:.2f}</td><td class=\"number\">{:.2f}</td>",
                        metric, spread.mean, spread.median);
    for (const auto& [p, value] : spread.percentiles)
      html += fmt::format("<td class=\"number\">{:.2f}</td>", value);
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

std::string error_list(const LoadResult& result) {
  constexpr size_t kMostShown = 10;
  std::vector<std::string> errors;
  for (const LoadRecord& record : result.records) {
    if (!record.error.empty() && errors.size() < kMostShown) errors.push_back(record.error);
  }
  if (errors.empty()) return "";
  std::string html = "<h2>Errors (the first)</h2><ul>\n";
  for (const std::string& error : errors) html += "<li>" + escape_html(error) + "</li>\n";
  return html + "</ul>\n";
}

}  // namespace

std::string load_html(const LoadInfo& info, const LoadOptions& options, const LoadResult& result,
                      const LoadSummary& summary) {
  const std::string title = fmt::format("{} under load", options.model);
  std::string body = fmt::format(
      "<h1>{}</h1>\n<p>{}, {}, {}; {} requests, {} failed, {:.2f} s. fathom {}.</p>\n"
      "<p><b>{:.1f}</b> output tokens/s, <b>{:.1f}</b> tokens/s in all, <b>{:.2f}</b> requests/s, at most {} "
      "at once.</p>\n",
      escape_html(title), escape_html(info.url), api_path(options.api), escape_html(info.dataset),
      result.records.size(), summary.failed, result.duration, escape_html(info.version),
      summary.output_throughput, summary.total_token_throughput, summary.request_throughput,
      summary.max_concurrent_requests);
  body += spread_table(info, summary) + error_list(result);
  if (summary.completed > 0) {
    body += histogram({"Time to the first token", "ms", "requests"}, first_tokens(result));
    const std::vector<double> itls = gaps(result);
    if (!itls.empty()) body += histogram({"Time between chunks", "ms", "chunks"}, itls);
    body += line_chart({"Output tokens", "s", "tokens/s"}, throughput(result));
    body += line_chart({"Requests under way", "s", "requests"}, concurrency(result));
  }
  const Json file = load_json(info, options, result, summary, Detail::kSummary);
  body += "<h2>Result file</h2><pre>" + escape_html(dump_json(file, 2)) + "</pre>\n";
  return html_page(title, kChartStyle, body);
}

}  // namespace fathom
