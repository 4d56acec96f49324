// Plots as SVG for a page of base/html.h: a course over time and a distribution.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace fathom {

struct ChartText {
  std::string title;
  std::string x;  // of the axis below
  std::string y;  // of the axis at the left
};

// A line through points, ascending in x. Both axes begin at 0.
std::string line_chart(const ChartText& text, const std::vector<std::pair<double, double>>& points);

// How often values >= 0 fall into bins of equal width from 0 to their 99.5th percentile; what lies above
// counts in the last bin. Marked: median and 99th percentile.
std::string histogram(const ChartText& text, std::vector<double> values);

// Rule for the page's style.
inline constexpr const char* kChartStyle =
    "svg { width: 100%; height: auto; } svg text { font-size: 12px; } svg .grid { stroke: var(--line); } "
    "svg .bar { fill: #0072b2; } svg .line { fill: none; stroke: #0072b2; stroke-width: 1.5; } svg .mark { "
    "stroke: #d55e00; }\n";

}  // namespace fathom
