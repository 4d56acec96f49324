// Numbers for Prometheus: histograms, and the text format (version 0.0.4). One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom {

class Histogram {
 public:
  // Upper bounds, ascending; +Inf is added.
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void observe(double value);

  const std::vector<double>& bounds() const { return bounds_; }
  const std::vector<uint64_t>& counts() const { return counts_; }  // per bucket, not cumulative
  double sum() const { return sum_; }

 private:
  std::vector<double> bounds_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
};

// 1, 2, 5, 10, .. up to the first that reaches limit.
std::vector<double> one_two_five(double limit);

class MetricsText {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;
  // prefix stands before every name; common labels on every sample.
  MetricsText(std::string prefix, Labels common) : prefix_(std::move(prefix)), common_(std::move(common)) {}

  // Begins a family of samples. type: "counter", "gauge" or "histogram". A counter's name ends in _total.
  void family(std::string_view name, std::string_view type, std::string_view help);
  // A sample of the family begun last.
  void sample(double value, const Labels& labels = {});
  void histogram_samples(const Histogram& histogram, const Labels& labels = {});
  // A family of one histogram.
  void histogram(std::string_view name, std::string_view help, const Histogram& histogram);

  std::string take() { return std::move(text_); }

 private:
  void line(std::string_view suffix, const Labels& labels, double value);

  std::string prefix_;
  Labels common_;
  std::string name_;
  std::string text_;
};

}  // namespace fathom
