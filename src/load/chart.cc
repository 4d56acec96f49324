#include "load/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/html.h"
#include "load/load_summary.h"

namespace fathom {
namespace {

// Pixels of the drawing, which the page scales.
constexpr double kWidth = 880, kHeight = 240, kLeft = 60, kRight = 16, kTop = 12, kBottom = 40;

// A round step that makes about five of the range.
double step_of(double most) {
  const double raw = most / 5;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power) return factor * power;
  }
  return 10 * power;
}

class Drawing {
 public:
  Drawing(const ChartText& text, double most_x, double most_y)
      : text_(text), most_x_(most_x > 0 ? most_x : 1), most_y_(most_y > 0 ? most_y : 1) {}

  double x(double value) const { return kLeft + (kWidth - kLeft - kRight) * std::min(value / most_x_, 1.0); }
  double y(double value) const { return kHeight - kBottom - (kHeight - kTop - kBottom) * value / most_y_; }
  double bottom() const { return kHeight - kBottom; }
  double most_x() const { return most_x_; }

  std::string finish(const std::string& content) const {
    std::string svg =
        fmt::format("<figure><figcaption>{}</figcaption><svg role=\"img\" viewBox=\"0 0 {} {}\">\n",
                    escape_html(text_.title), kWidth, kHeight);
    for (double value = 0; value <= most_y_ * 1.0001; value += step_of(most_y_)) {
      svg += fmt::format(
          "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/><text x=\"{3}\" "
          "y=\"{4:.1f}\" "
          "text-anchor=\"end\">{5:g}</text>\n",
          kLeft, kWidth - kRight, y(value), kLeft - 6, y(value) + 4, value);
    }
    for (double value = 0; value <= most_x_ * 1.0001; value += step_of(most_x_)) {
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:g}</text>\n", x(value),
                         kHeight - kBottom + 16, value);
    }
    svg += fmt::format(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text><text transform=\"rotate(-90)\" x=\"{}\" "
        "y=\"14\" "
        "text-anchor=\"middle\">{}</text>\n",
        (kLeft + kWidth - kRight) / 2, kHeight - 6, escape_html(text_.x), -(kTop + kHeight - kBottom) / 2,
        escape_html(text_.y));
    return svg + content + "</svg></figure>\n";
  }

 private:
  const ChartText& text_;
  double most_x_, most_y_;
};

}  // namespace

std::string line_chart(const ChartText& text, const std::vector<std::pair<double, double>>& points) {
  double most_y = 0;
  for (const auto& point : points) most_y = std::max(most_y, point.second);
  const Drawing drawing(text, points.empty() ? 0 : points.back().first, most_y);
  std::string line = "<polyline class=\"line\" points=\"";
  for (const auto& [x, y] : points) line += fmt::format("{:.1f},{:.1f} ", drawing.x(x), drawing.y(y));
  return drawing.finish(line + "\"/>\n");
}

std::string histogram(const ChartText& text, std::vector<double> values) {
  constexpr size_t kBins = 60;
  std::sort(values.begin(), values.end());
  const double most = percentile(values, 99.5);
  std::vector<size_t> counts(kBins, 0);
  for (double value : values) {
    const double place = most > 0 ? value / most * kBins : 0;
    ++counts[std::min(static_cast<size_t>(place), kBins - 1)];
  }
  const Drawing drawing(text, most, static_cast<double>(*std::max_element(counts.begin(), counts.end())));
  std::string content;
  const double width = drawing.most_x() / kBins;
  for (size_t i = 0; i < kBins; ++i) {
    if (counts[i] == 0) continue;
    const double left = drawing.x(width * static_cast<double>(i)),
                 top = drawing.y(static_cast<double>(counts[i]));
    content += fmt::format(
        "<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n", left, top,
        drawing.x(width * static_cast<double>(i + 1)) - left - 1, drawing.bottom() - top);
  }
  for (double p : {50.0, 99.0}) {
    const double place = drawing.x(percentile(values, p));
    content += fmt::format(
        "<line class=\"mark\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text x=\"{3:.1f}\" "
        "y=\"{4}\" "
        "text-anchor=\"end\">P{5:g}</text>\n",
        place, kTop, drawing.bottom(), place - 3, kTop + 10, p);
  }
  return drawing.finish(content);
}

}  // namespace fathom
