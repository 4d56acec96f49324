// A chart as SVG text for pages that load nothing: lines over a logarithmic axis, each point with the range
// of its repeats, and each line's ceiling dashed in the same colour.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace fathom {

struct ChartPoint {
  double x = 0;  // > 0
  double y = 0;
  double low = 0, high = 0;      // of the repeats
  std::optional<double> roof{};  // the most that y could be here
};

struct ChartLine {
  std::string name;
  std::vector<ChartPoint> points;  // by x
};

struct LineChart {
  std::string title;
  std::string x_name;
  std::string y_name;
  std::vector<ChartLine> lines;  // at least one point in all
};

std::string line_chart_svg(const LineChart& chart);

}  // namespace fathom
