#include "quantize/error_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>
#include <unordered_map>

namespace fathom {
namespace {

constexpr size_t kMaxWorst = 32;
constexpr size_t kTableWorst = 5;

void add(RowError& sum, const RowError& other) {
  sum.weight_squares += other.weight_squares;
  sum.error_squares += other.error_squares;
}

// Share of the signal that is noise; rows of zeros have none.
double noise_share(const RowError& error) {
  return error.error_squares > 0 ? error.error_squares / error.weight_squares : 0;
}

Json db_json(const RowError& error) {
  const double db = signal_to_noise_db(error);
  return std::isfinite(db) ? Json(db) : Json(nullptr);
}

std::string db_text(double db) { return std::isfinite(db) ? fmt::format("{:.2f}", db) : "-"; }

}  // namespace

TensorError sum_up(std::string tensor, QuantType type, std::span<const RowError> rows) {
  TensorError error{std::move(tensor), type, {}, -1, {}};
  for (size_t i = 0; i < rows.size(); ++i) {
    add(error.sum, rows[i]);
    if (noise_share(rows[i]) <= noise_share(error.worst)) continue;
    error.worst_row = static_cast<int64_t>(i);
    error.worst = rows[i];
  }
  return error;
}

Json to_json(const TensorError& error) {
  return Json::array({error.tensor, quant_type_name(error.type), error.sum.weight_squares,
                      error.sum.error_squares, error.worst_row, error.worst.weight_squares,
                      error.worst.error_squares});
}

Result<TensorError> tensor_error_from_json(const Json& json, const std::string& where) {
  bool valid = json.is_array() && json.size() == 7 && json[0].is_string() && json[1].is_string();
  for (size_t i = 2; valid && i < 7; ++i) valid = json[i].is_number();
  const auto type = valid ? quant_type_from_config(json[1].get<std::string>()) : std::nullopt;
  if (!type) return invalid_data("{}: not the error of a tensor", where);
  return TensorError{json[0].get<std::string>(),
                     *type,
                     {json[2].get<double>(), json[3].get<double>()},
                     json[4].get<int64_t>(),
                     {json[5].get<double>(), json[6].get<double>()}};
}

double signal_to_noise_db(const RowError& error) {
  if (error.error_squares == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(error.weight_squares / error.error_squares);
}

ErrorReport make_report(std::span<const WeightSpec> table, std::vector<TensorError> errors, Json options) {
  std::unordered_map<std::string, const WeightSpec*> specs;
  for (const WeightSpec& spec : table) specs[spec.name] = &spec;
  // Sums in one order, whatever the files'.
  std::sort(errors.begin(), errors.end(),
            [](const TensorError& a, const TensorError& b) { return a.tensor < b.tensor; });
  ErrorReport report{.options = std::move(options), .total = {}, .groups = {}, .worst = {}};
  std::map<std::tuple<int32_t, WeightRole, QuantType>, GroupError> groups;
  for (const TensorError& error : errors) {
    const WeightSpec& spec = *specs.at(error.tensor);
    GroupError& group = groups[{spec.layer, spec.role, error.type}];
    group.layer = spec.layer, group.role = spec.role, group.type = error.type;
    ++group.num_tensors;
    add(group.sum, error.sum);
    add(report.total, error.sum);
  }
  for (auto& [key, group] : groups) report.groups.push_back(group);
  std::erase_if(errors, [](const TensorError& error) { return error.worst_row < 0; });
  std::stable_sort(errors.begin(), errors.end(), [](const TensorError& a, const TensorError& b) {
    return noise_share(a.worst) > noise_share(b.worst);
  });
  if (errors.size() > kMaxWorst) errors.resize(kMaxWorst);
  report.worst = std::move(errors);
  return report;
}

Json to_json(const ErrorReport& report) {
  Json groups = Json::array();
  for (const GroupError& group : report.groups) {
    groups.push_back({{"layer", group.layer < 0 ? Json(nullptr) : Json(group.layer)},
                      {"role", role_name(group.role)},
                      {"type", quant_type_name(group.type)},
                      {"tensors", group.num_tensors},
                      {"snr_db", db_json(group.sum)}});
  }
  Json worst = Json::array();
  for (const TensorError& error : report.worst) {
    worst.push_back({{"tensor", error.tensor},
                     {"row", error.worst_row},
                     {"type", quant_type_name(error.type)},
                     {"snr_db", db_json(error.worst)},
                     {"relative_error", std::sqrt(noise_share(error.worst))}});
  }
  return {{"options", report.options},
          {"snr_db", db_json(report.total)},
          {"groups", std::move(groups)},
          {"worst_channels", std::move(worst)}};
}

std::string report_table(const ErrorReport& report) {
  struct RoleLine {
    int64_t num_tensors = 0;
    RowError sum;
    double lowest = std::numeric_limits<double>::infinity();
    int32_t lowest_layer = -1;
  };
  std::map<std::pair<WeightRole, QuantType>, RoleLine> lines;
  for (const GroupError& group : report.groups) {
    RoleLine& line = lines[{group.role, group.type}];
    line.num_tensors += group.num_tensors;
    add(line.sum, group.sum);
    const double db = signal_to_noise_db(group.sum);
    if (db >= line.lowest) continue;
    line.lowest = db;
    line.lowest_layer = group.layer;
  }
  std::string text =
      fmt::format("{:<14}{:<14}{:>8}{:>10}{:>14}\n", "weights", "type", "tensors", "SNR dB", "worst layer");
  for (const auto& [key, line] : lines) {
    const std::string lowest =
        line.lowest_layer < 0 ? "" : fmt::format("{} ({})", db_text(line.lowest), line.lowest_layer);
    text += fmt::format("{:<14}{:<14}{:>8}{:>10}{:>14}\n", role_name(key.first), quant_type_name(key.second),
                        line.num_tensors, db_text(signal_to_noise_db(line.sum)), lowest);
  }
  text += fmt::format("{:<36}{:>10}\n", "all", db_text(signal_to_noise_db(report.total)));
  for (size_t i = 0; i < std::min(report.worst.size(), kTableWorst); ++i) {
    const TensorError& error = report.worst[i];
    text += fmt::format("{}{} row {}, {} dB\n", i == 0 ? "worst channels: " : "                ",
                        error.tensor, error.worst_row, db_text(signal_to_noise_db(error.worst)));
  }
  return text;
}

}  // namespace fathom
