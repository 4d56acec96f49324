#include "quantize/quantize.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "checkpoint/side_files.h"
#include "model/stored_weight.h"
#include "quantize/source_weights.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 1;  // of what a run makes: a new one does not go on where an older was interrupted
constexpr int kNumBuffers = 4;
constexpr const char* kConfigName = "config.json";
constexpr OutputKind kQuantizedModel = {"quantised model", "quant_model_description"};

// What is read, checked.
struct Source {
  ModelConfig config;
  Json config_json;
  std::unique_ptr<Checkpoint> checkpoint;
  std::vector<WeightSpec> table;
  std::vector<std::string> side_files;
};

Result<Source> open_source(const std::string& directory) {
  Source source;
  FATHOM_ASSIGN_OR_RETURN(source.config, load_model_config(directory));
  FATHOM_ASSIGN_OR_RETURN(source.config_json,
                          read_json_file(join_path(directory, kConfigName), JsonLimits{}));
  FATHOM_ASSIGN_OR_RETURN(const QuantDescription description,
                          QuantDescription::load(directory, source.config));
  if (description.present())
    return invalid_argument("{}: is quantised already ({} is there): give the float checkpoint", directory,
                            description.path());
  FATHOM_ASSIGN_OR_RETURN(source.checkpoint, Checkpoint::open(directory));
  FATHOM_RETURN_IF_ERROR(check_weights(*source.checkpoint, source.config, description));
  source.table = weight_table(source.config);
  FATHOM_ASSIGN_OR_RETURN(source.side_files, side_files(directory));
  return source;
}

Result<StoredLayout> plan_output(const Source& source, std::span<const QuantType> types,
                                 const QuantizeOptions& options) {
  std::vector<PlannedWeight> weights;
  for (size_t i = 0; i < source.table.size(); ++i) {
    const WeightSpec& spec = source.table[i];
    weights.push_back({spec.name, spec.shape, source.checkpoint->tensor(spec.name)->dtype, types[i]});
  }
  return plan_layout(std::move(weights),
                     {.stem = options.layout == FileLayout::kAscendV1 ? "quant_model_weights"
                                                                      : default_stem(options.recipe.type),
                      .shard_bytes = options.shard_bytes,
                      .group_size = options.recipe.group_size});
}

Json options_json(const QuantizeOptions& options) {
  Json json = recipe_json(options.recipe);
  json["layout"] = options.layout == FileLayout::kAscendV1 ? "ascendv1" : "modelslim";
  json["shard_bytes"] = options.shard_bytes;
  json["version"] = kVersion;
  return json;
}

// A run's parts in one place.
class Quantizer {
 public:
  Quantizer(const QuantizeOptions& options, const Source& source, const StoredLayout& layout,
            OutputFolder& folder, ProgressSink* progress)
      : options_(options),
        source_(source),
        layout_(layout),
        folder_(folder),
        values_(*source.checkpoint, layout),
        stream_(layout,
                {.num_threads = options.num_threads,
                 .int8_rounding = options.recipe.rounding.value_or(default_rounding(QuantType::kW8A16)),
                 .int4_rounding = options.recipe.rounding.value_or(default_rounding(QuantType::kW4A16))},
                progress) {}

  Status write_weights();
  Status write_rest(std::span<const QuantType> types, const ErrorReport& report);
  std::vector<TensorError> take_errors() { return std::move(errors_); }
  uint64_t num_resumed() const { return num_resumed_; }

 private:
  bool take_record(size_t shard);
  Status write_shard(size_t shard, ShardWriter& writer);
  Status rows_done(size_t weight, const WeightValues& values, std::span<const RowError> rows,
                   std::vector<TensorError>& errors) const;
  Json config_json(std::span<const QuantType> types) const;
  std::string description_text() const;

  const QuantizeOptions& options_;
  const Source& source_;
  const StoredLayout& layout_;
  OutputFolder& folder_;
  SourceWeights values_;
  WeightStream stream_;
  uint64_t num_resumed_ = 0;
  // Of whole shards, in their order; only the writer's flushing thread adds to them while shards are written.
  std::vector<ManifestFile> files_;
  std::vector<TensorError> errors_;
};

std::string record_name(size_t shard) { return fmt::format("shard-{:05}", shard + 1); }

// Whether an interrupted run has left the shard whole.
bool Quantizer::take_record(size_t shard) {
  const std::optional<Json> record = folder_.record(record_name(shard));
  if (!record || !record->is_object() || !record->contains("file") || !record->contains("errors"))
    return false;
  std::optional<ManifestFile> file =
      folder_.recorded_file((*record)["file"], layout_.shards[shard].file_name);
  if (!file) return false;
  std::vector<TensorError> errors;
  for (const Json& entry : (*record)["errors"]) {
    auto tensor = tensor_error_from_json(entry, folder_.path());
    if (!tensor.ok()) return false;
    errors.push_back(std::move(tensor).value());
  }
  files_.push_back(std::move(*file));
  std::move(errors.begin(), errors.end(), std::back_inserter(errors_));
  return true;
}

Status Quantizer::write_weights() {
  std::vector<std::string> whole;
  size_t first = 0;
  for (; first < layout_.shards.size() && take_record(first); ++first) {
    whole.push_back(layout_.shards[first].file_name);
    stream_.skip_shard(layout_.shards[first]);
  }
  num_resumed_ = first;
  if (first > 0)
    log_warning("{}: going on behind shard {} of {}", folder_.path(), first, layout_.shards.size());
  FATHOM_RETURN_IF_ERROR(folder_.keep_only(whole));
  ShardWriter writer(kNumBuffers);
  for (size_t i = first; i < layout_.shards.size(); ++i) FATHOM_RETURN_IF_ERROR(write_shard(i, writer));
  return writer.finish();
}

Status Quantizer::write_shard(size_t index, ShardWriter& writer) {
  const PlannedShard& shard = layout_.shards[index];
  std::vector<TensorError> errors;
  FATHOM_RETURN_IF_ERROR(writer.begin(folder_.file(shard.file_name), shard.declarations()));
  FATHOM_RETURN_IF_ERROR(stream_.write_shard(
      shard, writer, [this](size_t weight) { return values_.open(weight); },
      [this, &errors](size_t weight, const WeightValues& values, std::span<const RowError> rows) {
        return rows_done(weight, values, rows, errors);
      }));
  return writer.end([this, &shard, index, errors = std::move(errors)](const WrittenShard& written) -> Status {
    ManifestFile file = manifest_file(shard.file_name, shard.declarations(), written);
    Json error_list = Json::array();
    for (const TensorError& error : errors) error_list.push_back(to_json(error));
    FATHOM_RETURN_IF_ERROR(folder_.save_record(record_name(index),
                                               {{"file", to_json(file)}, {"errors", std::move(error_list)}}));
    files_.push_back(std::move(file));
    errors_.insert(errors_.end(), errors.begin(), errors.end());
    return ok_status();
  });
}

Status Quantizer::rows_done(size_t weight, const WeightValues& values, std::span<const RowError> rows,
                            std::vector<TensorError>& errors) const {
  const PlannedWeight& planned = layout_.weights[weight];
  for (size_t row = 0; row < rows.size(); ++row) {
    if (std::isfinite(rows[row].weight_squares)) continue;
    std::vector<float> floats(static_cast<size_t>(planned.shape[1]));
    values.read_row(static_cast<int64_t>(row), floats);
    const auto bad =
        std::find_if(floats.begin(), floats.end(), [](float value) { return !std::isfinite(value); });
    return invalid_data("{}: tensor \"{}\" has {} in row {}, column {}: it cannot be quantised",
                        source_.checkpoint->file_of(planned.name), planned.name, *bad, row,
                        bad - floats.begin());
  }
  errors.push_back(sum_up(planned.name, planned.type, rows));
  return ok_status();
}

// The source's keys as they are, with those of the quantisation.
Json Quantizer::config_json(std::span<const QuantType> types) const {
  const QuantizeKeys keys = quantize_keys(source_.table, types, options_.recipe);
  Json json = source_.config_json;
  for (const char* key : {"quantize", "mla_quantize", "moe_quantize"}) json.erase(key);
  json["quantize"] = quant_type_name(keys.quantize);
  if (keys.mla_quantize) json["mla_quantize"] = quant_type_name(*keys.mla_quantize);
  if (keys.moe_quantize) json["moe_quantize"] = quant_type_name(*keys.moe_quantize);
  return json;
}

std::string Quantizer::description_text() const {
  if (options_.layout == FileLayout::kModelSlim) return write_quant_description(quant_entries(layout_));
  const bool has_int4 = std::any_of(layout_.weights.begin(), layout_.weights.end(),
                                    [](const PlannedWeight& weight) { return is_int4(weight.type); });
  return write_quant_description(quant_entries(layout_),
                                 {{"version", "1.0.0"},
                                  {"model_quant_type", description_name(options_.recipe.type)},
                                  {"group_size", has_int4 ? layout_.group_size : 0},
                                  {"metadata", {{"tool", "fathom quantize"}}}});
}

Status Quantizer::write_rest(std::span<const QuantType> types, const ErrorReport& report) {
  std::vector<std::pair<std::string, std::string>> texts = {
      {kConfigName, dump_json(config_json(types), 2) + "\n"},
      {options_.layout == FileLayout::kAscendV1 ? description_file_name(std::nullopt)
                                                : description_file_name(options_.recipe.type),
       description_text()},
      {"quantization_report.json", dump_json(to_json(report), 2) + "\n"},
      {"quantization_report.html", report_page(report)}};
  if (layout_.shards.size() > 1)
    texts.emplace_back(index_file_name(layout_),
                       write_shard_index(shard_index(layout_), layout_.data_bytes()));
  for (const std::string& name : source_.side_files) {
    FATHOM_ASSIGN_OR_RETURN(ManifestFile file,
                            copy_side_file(source_.checkpoint->directory(), folder_.path(), name));
    files_.push_back(std::move(file));
  }
  for (const auto& [name, text] : texts) {
    FATHOM_ASSIGN_OR_RETURN(ManifestFile file, write_side_file(folder_.path(), name, text));
    files_.push_back(std::move(file));
  }
  return write_file(folder_.file(kManifestName), write_manifest({options_json(options_), files_}));
}

uint64_t output_bytes(const Source& source, const StoredLayout& layout) {
  uint64_t sum = layout.file_bytes();
  std::error_code error;
  for (const std::string& name : source.side_files)
    sum += fs::file_size(join_path(source.checkpoint->directory(), name), error);
  return sum;
}

}  // namespace

Result<QuantizeResult> quantize(const QuantizeOptions& options, ProgressSink* progress) {
  FATHOM_ASSIGN_OR_RETURN(const Source source, open_source(options.source));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<QuantType> types, assign_types(source.table, options.recipe));
  FATHOM_ASSIGN_OR_RETURN(const StoredLayout layout, plan_output(source, types, options));
  FATHOM_ASSIGN_OR_RETURN(const OutputPaths paths, check_destination(options.source, options.destination,
                                                                     kQuantizedModel, options.existing));
  FATHOM_RETURN_IF_ERROR(check_room(paths, output_bytes(source, layout)));
  FATHOM_ASSIGN_OR_RETURN(
      const auto folder,
      OutputFolder::open(paths, options.existing,
                         {options_json(options),
                          source_identity(*source.checkpoint, source.config_json, source.side_files)}));
  Quantizer quantizer(options, source, layout, *folder, progress);
  FATHOM_RETURN_IF_ERROR(folder->with_advice(quantizer.write_weights()));
  QuantizeResult result{.report = make_report(source.table, quantizer.take_errors(), options_json(options)),
                        .source_bytes = source.checkpoint->data_bytes(),
                        .data_bytes = layout.data_bytes(),
                        .num_shards = layout.shards.size(),
                        .num_resumed_shards = quantizer.num_resumed(),
                        .left_out = unused_tensors(*source.checkpoint, source.config)};
  FATHOM_RETURN_IF_ERROR(quantizer.write_rest(types, result.report));
  FATHOM_RETURN_IF_ERROR(folder->publish());
  return result;
}

}  // namespace fathom
