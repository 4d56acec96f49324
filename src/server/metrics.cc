#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace fathom {
namespace {

std::string escape_label(std::string_view value) {
  std::string out;
  for (char c : value) {
    if (c == '\\' || c == '"') out.push_back('\\');
    if (c == '\n') {
      out += "\\n";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace

void Histogram::observe(double value) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  ++counts_[static_cast<size_t>(bucket)];
  sum_ += value;
}

std::vector<double> one_two_five(double limit) {
  std::vector<double> bounds;
  for (double decade = 1;; decade *= 10) {
    for (double step : {1, 2, 5}) {
      bounds.push_back(step * decade);
      if (bounds.back() >= limit) return bounds;
    }
  }
}

void MetricsText::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = prefix_ + std::string(name);
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name_, help, name_, type);
}

void MetricsText::sample(double value, const Labels& labels) { line("", labels, value); }

void MetricsText::histogram(std::string_view name, std::string_view help, const Histogram& histogram) {
  family(name, "histogram", help);
  histogram_samples(histogram);
}

void MetricsText::histogram_samples(const Histogram& histogram, const Labels& labels) {
  uint64_t count = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    count += histogram.counts()[i];
    const bool last = i == histogram.bounds().size();
    Labels with_bound = labels;
    with_bound.emplace_back("le", last ? "+Inf" : fmt::format("{}", histogram.bounds()[i]));
    line("_bucket", with_bound, static_cast<double>(count));
  }
  line("_sum", labels, histogram.sum());
  line("_count", labels, static_cast<double>(count));
}

void MetricsText::line(std::string_view suffix, const Labels& labels, double value) {
  text_ += name_;
  text_ += suffix;
  char separator = '{';
  for (const Labels* part : {static_cast<const Labels*>(&common_), &labels}) {
    for (const auto& [key, label] : *part) {
      text_ += fmt::format("{}{}=\"{}\"", separator, key, escape_label(label));
      separator = ',';
    }
  }
  text_ += fmt::format("{} {}\n", separator == ',' ? "}" : "", value);
}

}  // namespace fathom
