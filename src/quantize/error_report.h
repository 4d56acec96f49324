// What rounding has cost: signal-to-noise of the weights by layer and role, and the channels (output rows)
// that suffer most. Numbers alone decide the text, so that the same run gives the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "checkpoint/quant_type.h"
#include "model/rounding.h"
#include "model/weight_table.h"

namespace fathom {

// One weight.
struct TensorError {
  std::string tensor;
  QuantType type = QuantType::kFloat;
  RowError sum;            // of all rows
  int64_t worst_row = -1;  // of the lowest signal-to-noise ratio; -1: no row has an error
  RowError worst;
};

// rows in order of the tensor's.
TensorError sum_up(std::string tensor, QuantType type, std::span<const RowError> rows);

Json to_json(const TensorError& error);
Result<TensorError> tensor_error_from_json(const Json& json, const std::string& where);

// All weights of one layer and role in one type.
struct GroupError {
  int32_t layer = -1;  // -1: of no layer
  WeightRole role = WeightRole::kEmbedTokens;
  QuantType type = QuantType::kFloat;
  int64_t num_tensors = 0;
  RowError sum;
};

struct ErrorReport {
  Json options;
  RowError total;
  std::vector<GroupError> groups;  // by layer, role and type
  std::vector<TensorError> worst;  // the worst channel of a tensor each, worst first
};

// 10 log10(sum w^2 / sum (w - w')^2); infinite without an error.
double signal_to_noise_db(const RowError& error);

// errors of any weights of the table, in any order.
ErrorReport make_report(std::span<const WeightSpec> table, std::vector<TensorError> errors, Json options);

Json to_json(const ErrorReport& report);
// By role over all layers: signal-to-noise of all and of the worst layer; then the worst channels.
std::string report_table(const ErrorReport& report);
// A page that needs nothing else: a plot over layers, the same numbers as tables; light and dark.
std::string report_page(const ErrorReport& report);

}  // namespace fathom
