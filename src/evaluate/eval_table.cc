// The tables on a terminal.
#include <algorithm>

#include "evaluate/eval_report.h"
#include "evaluate/plain_text.h"

namespace fathom {
namespace {

enum class Align { kLeft, kRight };

struct Column {
  const char* title;
  Align align;
};

using Cells = std::vector<std::string>;

std::string padded(std::string_view text, size_t width, Align align) {
  const std::string space(width - std::min(width, count_characters(text)), ' ');
  return align == Align::kLeft ? std::string(text) + space : space + std::string(text);
}

// Markdown, as the harness prints it.
std::string markdown(const std::vector<Column>& columns, const std::vector<Cells>& rows) {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns.size(); ++i) {
    widths.push_back(std::max<size_t>(count_characters(columns[i].title), 3));
    for (const Cells& row : rows) widths[i] = std::max(widths[i], count_characters(row[i]));
  }
  std::string text = "|", rule = "|";
  for (size_t i = 0; i < columns.size(); ++i) {
    text += padded(columns[i].title, widths[i], Align::kLeft) + "|";
    rule += std::string(widths[i] - 1, '-') + (columns[i].align == Align::kRight ? ":|" : "-|");
  }
  text += "\n" + rule + "\n";
  for (const Cells& row : rows) {
    text += "|";
    for (size_t i = 0; i < columns.size(); ++i) text += padded(row[i], widths[i], columns[i].align) + "|";
    text += "\n";
  }
  return text;
}

std::string indented(const ResultRow& row) {
  if (row.depth == 0) return row.alias;
  return std::string(static_cast<size_t>(row.depth) * 2 - 1, ' ') + "- " + row.alias;
}

// One line a metric; the row's name before the first alone.
void add_harness_lines(const FinishedTask& finished, const ResultRow& row, std::vector<Cells>& lines) {
  for (size_t i = 0; i < row.metrics.size(); ++i) {
    const Metric& metric = finished.task.metrics[i];
    const MetricValue& value = row.metrics[i];
    lines.push_back({i == 0 ? indented(row) : "", i == 0 ? finished.task.version : "", metric.filter,
                     fmt::format("{}", finished.task.num_shots), metric.name,
                     higher_is_better(metric) ? "↑" : "↓", fmt::format("{:.4f}", value.value), "±",
                     value.error ? fmt::format("{:.4f}", *value.error) : "N/A"});
  }
}

void add_modeltest_lines(const FinishedTask& finished, const ResultRow& row, std::vector<Cells>& lines) {
  for (size_t i = 0; i < row.metrics.size(); ++i) {
    const MetricValue& value = row.metrics[i];
    lines.push_back({indented(row), fmt::format("{}", finished.task.num_shots),
                     fmt::format("{}", row.num_examples), fmt::format("{:.10g}", row.num_passed),
                     finished.task.metrics[i].name, fmt::format("{:.4f}", value.value),
                     value.error ? fmt::format("{:.4f}", *value.error) : "N/A"});
  }
}

}  // namespace

std::string results_table(const std::vector<FinishedTask>& tasks, PromptStyle style) {
  constexpr auto kLeft = Align::kLeft, kRight = Align::kRight;
  static const std::vector<Column> kHarness = {{"Tasks", kLeft},   {"Version", kRight}, {"Filter", kLeft},
                                               {"n-shot", kRight}, {"Metric", kLeft},   {"", kLeft},
                                               {"Value", kRight},  {"", kLeft},         {"Stderr", kRight}};
  static const std::vector<Column> kModeltest = {{"Tasks", kLeft},  {"N-Shot", kRight}, {"Total", kRight},
                                                 {"Pass", kRight},  {"Metric", kLeft},  {"Value", kRight},
                                                 {"Stderr", kRight}};
  const bool is_harness = style == PromptStyle::kHarness;
  std::vector<Cells> lines;
  for (const FinishedTask& finished : tasks) {
    for (const ResultRow& row : finished.rows) {
      if (is_harness) {
        add_harness_lines(finished, row, lines);
      } else {
        add_modeltest_lines(finished, row, lines);
      }
    }
  }
  return markdown(is_harness ? kHarness : kModeltest, lines);
}

}  // namespace fathom
