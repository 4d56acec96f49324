#include "cli/model_page.h"

#include <algorithm>
#include <functional>

#include "base/html.h"
#include "cli/line_chart.h"
#include "cli/model_report.h"

namespace fathom {
namespace {

constexpr const char* kStyle =
    // As wide as the lines of the table.
    "body{max-width:76rem}svg{display:block;max-width:100%;margin:1rem 0}.axis{stroke:var(--line)}"
    "pre{overflow-x:auto;font:11px/1.5 ui-monospace,monospace}";

using RowName = std::function<std::string(const ModelBenchRow&)>;
using RowPoint = std::function<std::optional<ChartPoint>(const ModelBenchRow&)>;

ChartPoint point(double x, const Spread& speed, const std::optional<Spread>& share) {
  ChartPoint made{.x = x, .y = speed.median, .low = speed.min, .high = speed.max};
  if (share && share->median > 0) made.roof = speed.median / share->median;
  return made;
}

// Rows of one name become one line.
std::vector<ChartLine> lines_of(const ModelBenchReport& report, const RowName& name,
                                const RowPoint& point_of) {
  std::vector<ChartLine> lines;
  for (const ModelBenchRow& row : report.rows) {
    const std::optional<ChartPoint> made = point_of(row);
    if (!made) continue;
    const std::string called = name(row);
    auto line = std::find_if(lines.begin(), lines.end(), [&](const auto& one) { return one.name == called; });
    if (line == lines.end()) line = lines.insert(lines.end(), {called, {}});
    line->points.push_back(*made);
  }
  for (ChartLine& line : lines) {
    std::stable_sort(line.points.begin(), line.points.end(),
                     [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
  }
  return lines;
}

std::string charts(const ModelBenchReport& report) {
  const RowName by_lengths = [](const ModelBenchRow& row) {
    return fmt::format("{} in, {} out", row.lengths.input, row.lengths.output);
  };
  const RowName by_batch = [](const ModelBenchRow& row) { return fmt::format("batch {}", row.batch); };
  const auto decode = [](const ModelBenchRow& row, double x) -> std::optional<ChartPoint> {
    if (!row.decode_tps) return std::nullopt;
    return point(x, *row.decode_tps, row.roof_fraction_decode);
  };
  const auto prefill = [](const ModelBenchRow& row, double x) -> std::optional<ChartPoint> {
    return point(x, row.prefill_tps, row.roof_fraction_prefill);
  };
  const auto batch = [](const ModelBenchRow& row) { return static_cast<double>(row.batch); };
  const auto context = [](const ModelBenchRow& row) {
    return static_cast<double>(row.lengths.input) + static_cast<double>(row.lengths.output) / 2;
  };
  const auto input = [](const ModelBenchRow& row) { return static_cast<double>(row.lengths.input); };
  const LineChart all[] = {
      {"Decode against batch", "requests at once", "tokens/s",
       lines_of(report, by_lengths, [&](const auto& row) { return decode(row, batch(row)); })},
      {"Decode against context", "tokens of context, in the middle of the answer", "tokens/s",
       lines_of(report, by_batch, [&](const auto& row) { return decode(row, context(row)); })},
      {"Prefill against batch", "requests at once", "tokens/s",
       lines_of(report, by_lengths, [&](const auto& row) { return prefill(row, batch(row)); })},
      {"Prefill against prompt length", "tokens of a prompt", "tokens/s",
       lines_of(report, by_batch, [&](const auto& row) { return prefill(row, input(row)); })},
  };
  std::string html;
  for (const LineChart& chart : all) {
    if (!chart.lines.empty()) html += line_chart_svg(chart);
  }
  return html;
}

}  // namespace

std::string to_html(const ModelBenchReport& report) {
  const std::string body = fmt::format(
      "<h1>{}</h1>\n<p>{}. Dashed: the roof, what the ceilings measured beside the runs allow. Vertical "
      "lines: "
      "smallest to largest of the repeats.</p>\n{}<h2>Numbers</h2><pre>{}</pre>",
      escape_html(report.model), escape_html(place_text(report)), charts(report),
      escape_html(to_text(report)));
  return html_page("fathom bench model: " + report.model, kStyle, body);
}

}  // namespace fathom
