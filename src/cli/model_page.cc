#include "cli/model_page.h"

#include <algorithm>
#include <functional>

#include "cli/line_chart.h"
#include "cli/model_report.h"
#include "evaluate/plain_text.h"

namespace fathom {
namespace {

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222;"
    "background:#fff}svg{display:block;max-width:100%;margin:1rem 0}.axis{stroke:#bbb}"
    "text{font:13px system-ui,sans-serif;fill:#222}pre{overflow-x:auto;font:12px/1.5 ui-monospace,monospace}"
    "@media(prefers-color-scheme:dark){body{background:#181a1b;color:#ddd}text{fill:#ddd}.axis{stroke:#555}}";

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
  return fmt::format(
      "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>fathom bench model: {0}</title>"
      "<meta name='viewport' content='width=device-width'><style>{1}</style></head><body><h1>{0}</h1>\n"
      "<p>{2} threads of {3}, {4} kernels. Dashed: the roof, what the ceilings measured beside the runs "
      "allow. "
      "Vertical lines: smallest to largest of the "
      "repeats.</p>\n{5}<h2>Numbers</h2><pre>{6}</pre></body></html>\n",
      escape_html(report.model), kStyle, report.num_threads, escape_html(report.before.features.model_name),
      isa_name(report.isa), charts(report), escape_html(to_text(report)));
}

}  // namespace fathom
