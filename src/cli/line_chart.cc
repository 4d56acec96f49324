#include "cli/line_chart.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/check.h"
#include "base/html.h"

namespace fathom {
namespace {

// Pixels.
constexpr double kWidth = 720, kHeight = 340, kLeft = 80, kRight = 190, kTop = 34, kBottom = 46;
constexpr const char* kColours[] = {"#4878a8", "#c8553d", "#4f9d69", "#8a5fa8", "#c79a2b", "#3a9aa3"};

struct Axes {
  double x_low = 0, x_high = 0;  // logarithms
  double y_step = 1, y_high = 1;

  double x(double value) const {
    const double width = kWidth - kLeft - kRight;
    if (x_high == x_low) return kLeft + width / 2;
    return kLeft + width * (std::log(value) - x_low) / (x_high - x_low);
  }
  double y(double value) const { return kHeight - kBottom - (kHeight - kTop - kBottom) * value / y_high; }
};

// 1, 2 or 5 times a power of ten, so that at most five of them reach up to largest.
double tick_step(double largest) {
  const double power = std::pow(10, std::floor(std::log10(largest / 5)));
  for (double factor : {1, 2, 5}) {
    if (factor * power * 5 >= largest) return factor * power;
  }
  return 10 * power;
}

Axes axes_of(const LineChart& chart) {
  std::set<double> xs;
  double largest = 0;
  for (const ChartLine& line : chart.lines) {
    for (const ChartPoint& point : line.points) {
      xs.insert(point.x);
      largest = std::max({largest, point.high, point.roof.value_or(0)});
    }
  }
  FATHOM_CHECK(!xs.empty(), "a chart of no points");
  Axes axes{.x_low = std::log(*xs.begin()), .x_high = std::log(*xs.rbegin())};
  axes.y_step = tick_step(largest > 0 ? largest : 1);
  axes.y_high = axes.y_step * std::ceil(largest > 0 ? largest / axes.y_step : 1);
  return axes;
}

std::string grid(const LineChart& chart, const Axes& axes) {
  std::string svg;
  for (double value = 0; value <= axes.y_high + axes.y_step / 2; value += axes.y_step) {
    svg += fmt::format(
        "<line class='axis' x1='{0}' x2='{1}' y1='{2:.1f}' y2='{2:.1f}'/>"
        "<text x='{3}' y='{4:.1f}' text-anchor='end'>{5:g}</text>",
        kLeft, kWidth - kRight, axes.y(value), kLeft - 8, axes.y(value) + 4, value);
  }
  std::set<double> xs;
  for (const ChartLine& line : chart.lines) {
    for (const ChartPoint& point : line.points) xs.insert(point.x);
  }
  for (double x : xs) {
    svg += fmt::format("<text x='{:.1f}' y='{}' text-anchor='middle'>{:g}</text>", axes.x(x),
                       kHeight - kBottom + 18, x);
  }
  return svg +
         fmt::format("<text x='{}' y='{}' text-anchor='middle'>{}</text><text x='{}' y='18'>{} ({})</text>",
                     (kLeft + kWidth - kRight) / 2, kHeight - 8, escape_html(chart.x_name), kLeft,
                     escape_html(chart.title), escape_html(chart.y_name));
}

std::string line_svg(const ChartLine& line, const Axes& axes, size_t index) {
  const char* colour = kColours[index % std::size(kColours)];
  std::string points, roof, marks;
  for (const ChartPoint& point : line.points) {
    const double x = axes.x(point.x);
    points += fmt::format("{:.1f},{:.1f} ", x, axes.y(point.y));
    if (point.roof) roof += fmt::format("{:.1f},{:.1f} ", x, axes.y(*point.roof));
    marks += fmt::format(
        "<circle cx='{0:.1f}' cy='{1:.1f}' r='3' fill='{4}'/>"
        "<line x1='{0:.1f}' x2='{0:.1f}' y1='{2:.1f}' y2='{3:.1f}' stroke='{4}'/>",
        x, axes.y(point.y), axes.y(point.low), axes.y(point.high), colour);
    if (point.roof) {
      marks += fmt::format("<line x1='{0:.1f}' x2='{1:.1f}' y1='{2:.1f}' y2='{2:.1f}' stroke='{3}'/>", x - 6,
                           x + 6, axes.y(*point.roof), colour);
    }
  }
  const double y = kTop + 10 + 20 * static_cast<double>(index);
  return fmt::format(
      "<polyline fill='none' stroke='{0}' stroke-width='2' points='{1}'/>"
      "<polyline fill='none' stroke='{0}' stroke-dasharray='5 4' points='{2}'/>{3}"
      "<text x='{4}' y='{5}' style='fill:{0}'>{6}</text>",
      colour, points, roof, marks, kWidth - kRight + 14, y, escape_html(line.name));
}

}  // namespace

std::string line_chart_svg(const LineChart& chart) {
  const Axes axes = axes_of(chart);
  const double height = std::max(kHeight, kTop + 20 + 20 * static_cast<double>(chart.lines.size()));
  std::string svg =
      fmt::format("<svg role='img' width='{0}' height='{1}' viewBox='0 0 {0} {1}'><title>{2}</title>", kWidth,
                  height, escape_html(chart.title));
  svg += grid(chart, axes);
  for (size_t i = 0; i < chart.lines.size(); ++i) svg += line_svg(chart.lines[i], axes, i);
  return svg + "</svg>\n";
}

}  // namespace fathom
