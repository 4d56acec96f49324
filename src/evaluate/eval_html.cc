// The page for people: no script, nothing loaded from anywhere, values from 0 to 1 as bars with an interval
// of 95 % by the standard error.
#include <algorithm>

#include "base/html.h"
#include "evaluate/eval_report.h"

namespace fathom {
namespace {

constexpr const char* kStyle =
    "pre { white-space: pre-wrap; } .bar { fill: #4878a8; } .group { fill: #274a6d; } .line { stroke: #c33; "
    "stroke-width: 2; } .axis { stroke: var(--line); } svg text { font-size: 13px; }\n";

// Pixels.
constexpr int kLabel = 300, kBars = 400, kNumber = 170, kRow = 22, kTop = 24;

double x_of(double value) { return kLabel + kBars * std::clamp(value, 0.0, 1.0); }

std::string bar(const ResultRow& row, const MetricValue& metric, int y) {
  std::string svg = fmt::format(
      "<text x='{}' y='{}' text-anchor='end'>{}</text><rect class='{}' x='{}' y='{}' width='{:.1f}' "
      "height='{}'/>",
      kLabel - 8, y + 15, escape_html(row.alias), row.members.empty() ? "bar" : "group", kLabel, y + 4,
      x_of(metric.value) - kLabel, kRow - 8);
  std::string number = fmt::format("{:.4f}", metric.value);
  if (metric.error) {
    constexpr double kNormal95 = 1.96;
    svg += fmt::format("<line class='line' x1='{:.1f}' x2='{:.1f}' y1='{}' y2='{}'/>",
                       x_of(metric.value - kNormal95 * *metric.error),
                       x_of(metric.value + kNormal95 * *metric.error), y + kRow / 2, y + kRow / 2);
    number += fmt::format(" ± {:.4f}", *metric.error);
  }
  return svg + fmt::format("<text x='{}' y='{}'>{} of {}</text>", kLabel + kBars + 8, y + 15, number,
                           row.num_examples);
}

std::string chart(const FinishedTask& finished, size_t metric) {
  const int height = kTop + kRow * static_cast<int>(finished.rows.size()) + 4;
  std::string svg = fmt::format("<svg role='img' width='{0}' height='{1}' viewBox='0 0 {0} {1}'>",
                                kLabel + kBars + kNumber, height);
  for (int percent = 0; percent <= 100; percent += 25) {
    const double x = x_of(percent / 100.0);
    svg += fmt::format(
        "<line class='axis' x1='{0:.1f}' x2='{0:.1f}' y1='{1}' y2='{2}'/>"
        "<text x='{0:.1f}' y='14' text-anchor='middle'>{3}</text>",
        x, kTop - 4, height, percent / 100.0);
  }
  int y = kTop;
  for (const ResultRow& row : finished.rows) {
    svg += bar(row, row.metrics[metric], y);
    y += kRow;
  }
  return svg + "</svg>\n";
}

std::string number_table(const FinishedTask& finished) {
  std::string html = "<table><tr><th>metric</th><th>value</th></tr>";
  for (size_t i = 0; i < finished.task.metrics.size(); ++i) {
    html += fmt::format("<tr><td>{}</td><td class='number'>{:.6g}</td></tr>",
                        escape_html(finished.task.metrics[i].name), finished.rows[0].metrics[i].value);
  }
  return html + "</table>\n";
}

std::string section(const FinishedTask& finished) {
  const Task& task = finished.task;
  std::string html =
      fmt::format("<h2>{}</h2><p>{} examples, {}-shot, version {}</p>\n", escape_html(task.name),
                  task.examples.size(), task.num_shots, escape_html(task.version));
  for (size_t i = 0; i < task.metrics.size(); ++i) {
    if (task.metrics[i].aggregation != Aggregation::kMean) return html + number_table(finished);
    html += fmt::format("<h3>{}</h3>\n", escape_html(metric_key(task.metrics[i]))) + chart(finished, i);
  }
  return html;
}

}  // namespace

std::string results_html(const std::vector<FinishedTask>& tasks, const EvalInfo& info) {
  std::string body = fmt::format(
      "<h1>{0}</h1>\n<p>fathom {1}, prompts of {2}, {3} UTC, {4:.1f} s. Red lines are 95 % intervals.</p>\n",
      escape_html(info.model), escape_html(info.version),
      info.style == PromptStyle::kHarness ? "lm-evaluation-harness" : "modeltest",
      time_for_file_name(info.start_time), info.end_time - info.start_time);
  for (const FinishedTask& finished : tasks) body += section(finished);
  body += fmt::format("<h2>Options</h2><pre>{}</pre>", escape_html(dump_json(info.config, 2)));
  return html_page("fathom eval: " + info.model, kStyle, body);
}

}  // namespace fathom
