#include <algorithm>
#include <cmath>
#include <map>

#include "base/html.h"
#include "quantize/error_report.h"

namespace fathom {
namespace {

constexpr double kWidth = 880, kHeight = 340, kLeft = 48, kRight = 16, kTop = 12, kBottom = 36;
// Told apart in light and dark, and by people who see fewer colours; more series than these repeat them
// dashed.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                    "#e69f00", "#56b4e9", "#8a8a8a"};

constexpr const char* kStyle =
    "svg { width: 100%; height: auto; } svg text { font-size: 11px; } svg .grid { stroke: var(--line); }\n"
    ".legend span { white-space: nowrap; margin-right: 1.2rem; } code { overflow-wrap: anywhere; }\n";

// One line of the plot: a role in a type over the layers that have it.
struct Series {
  std::string name;
  std::vector<std::pair<int32_t, double>> points;  // layer, dB
};

std::vector<Series> plot_series(const ErrorReport& report) {
  std::map<std::pair<WeightRole, QuantType>, Series> series;
  for (const GroupError& group : report.groups) {
    const double db = signal_to_noise_db(group.sum);
    if (group.layer < 0 || !std::isfinite(db)) continue;
    Series& line = series[{group.role, group.type}];
    line.name = fmt::format("{} {}", role_name(group.role), quant_type_name(group.type));
    line.points.emplace_back(group.layer, db);
  }
  std::vector<Series> list;
  for (auto& [key, line] : series) list.push_back(std::move(line));
  return list;
}

struct Scale {
  int32_t last_layer = 1;
  double low = 0, high = 1;  // dB, multiples of step
  double step = 1;

  double x(double layer) const { return kLeft + (kWidth - kLeft - kRight) * layer / last_layer; }
  double y(double db) const { return kTop + (kHeight - kTop - kBottom) * (high - db) / (high - low); }
};

Scale plot_scale(const std::vector<Series>& series) {
  Scale scale;
  double low = INFINITY, high = -INFINITY;
  for (const Series& line : series) {
    for (const auto& [layer, db] : line.points) {
      scale.last_layer = std::max(scale.last_layer, layer);
      low = std::min(low, db), high = std::max(high, db);
    }
  }
  scale.step = high - low > 10 ? 5 : 1;
  scale.low = std::floor(low / scale.step) * scale.step;
  scale.high = std::max(std::ceil(high / scale.step) * scale.step, scale.low + scale.step);
  return scale;
}

std::string plot_axes(const Scale& scale) {
  std::string svg;
  for (double db = scale.low; db <= scale.high + 1e-9; db += scale.step) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text x=\"{}\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{:.0f}</text>\n",
        kLeft, kWidth - kRight, scale.y(db), scale.y(db), kLeft - 6, scale.y(db) + 4, db);
  }
  const int32_t step = std::max(1, scale.last_layer / 15);
  for (int32_t layer = 0; layer <= scale.last_layer; layer += step) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", scale.x(layer),
                       kHeight - 18, layer);
  }
  return svg + fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">layer</text>\n", kWidth / 2,
                           kHeight - 3);
}

std::string plot(const ErrorReport& report) {
  const std::vector<Series> series = plot_series(report);
  if (series.empty()) return "";
  const Scale scale = plot_scale(series);
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Signal-to-noise ratio in dB over layers\">\n{}",
      kWidth, kHeight, plot_axes(scale));
  std::string legend = "<p class=\"legend\">";
  for (size_t i = 0; i < series.size(); ++i) {
    const char* colour = kColours[i % std::size(kColours)];
    const char* dashes = i < std::size(kColours) ? "" : " stroke-dasharray=\"5 3\"";
    std::string line, dots;
    for (const auto& [layer, db] : series[i].points) {
      line += fmt::format("{:.1f},{:.1f} ", scale.x(layer), scale.y(db));
      dots += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"><title>{}, layer {}: {:.2f} "
          "dB</title></circle>\n",
          scale.x(layer), scale.y(db), colour, series[i].name, layer, db);
    }
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\"{}/>\n{}", line, colour, dashes,
                       dots);
    legend += fmt::format(
        "<span><svg viewBox=\"0 0 24 8\" style=\"width:24px\"><line x1=\"0\" x2=\"24\" y1=\"4\" y2=\"4\" "
        "stroke=\"{}\" stroke-width=\"2\"{}/></svg> {}</span> ",
        colour, dashes, series[i].name);
  }
  return fmt::format("<h2>By layer and role, dB</h2>\n{}</svg>\n{}</p>\n", svg, legend);
}

std::string db_cell(const RowError& error) {
  const double db = signal_to_noise_db(error);
  return fmt::format("<td class=\"number\">{}</td>",
                     std::isfinite(db) ? fmt::format("{:.2f}", db) : "no error");
}

std::string worst_table(const ErrorReport& report) {
  std::string html =
      "<h2>Worst channels</h2>\n<table><tr><th>tensor</th><th class=\"number\">row</th><th>type</th>"
      "<th class=\"number\">SNR dB</th></tr>\n";
  for (const TensorError& error : report.worst) {
    html += fmt::format("<tr><td><code>{}</code></td><td class=\"number\">{}</td><td>{}</td>{}</tr>\n",
                        escape_html(error.tensor), error.worst_row, quant_type_name(error.type),
                        db_cell(error.worst));
  }
  return html + "</table>\n";
}

std::string group_table(const ErrorReport& report) {
  std::string html =
      "<h2>All layers and roles</h2>\n<table><tr><th class=\"number\">layer</th><th>role</th><th>type</th>"
      "<th class=\"number\">tensors</th><th class=\"number\">SNR dB</th></tr>\n";
  for (const GroupError& group : report.groups) {
    html += fmt::format(
        "<tr><td class=\"number\">{}</td><td>{}</td><td>{}</td><td class=\"number\">{}</td>{}</tr>\n",
        group.layer < 0 ? "" : std::to_string(group.layer), role_name(group.role),
        quant_type_name(group.type), group.num_tensors, db_cell(group.sum));
  }
  return html + "</table>\n";
}

}  // namespace

std::string report_page(const ErrorReport& report) {
  const double db = signal_to_noise_db(report.total);
  const std::string body = fmt::format(
      "<h1>Quantisation report</h1>\n<p>Signal-to-noise ratio of the quantised weights, 10 log10(sum w² / "
      "sum (w "
      "- w')²): <b>{}</b> over all.</p>\n<p>Options: <code>{}</code></p>\n{}{}{}",
      std::isfinite(db) ? fmt::format("{:.2f} dB", db) : "no error", escape_html(dump_json(report.options)),
      plot(report), worst_table(report), group_table(report));
  return html_page("Quantisation report", kStyle, body);
}

}  // namespace fathom
