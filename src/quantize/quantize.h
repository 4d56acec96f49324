// `fathom quantize`: a float checkpoint becomes a quantised one. As a stream, in bounded memory; whole or not
// at all; the same bytes for any number of threads and interruptions.
#pragma once

#include <cstdint>
#include <string>

#include "base/progress.h"
#include "base/status.h"
#include "checkpoint/output_folder.h"
#include "quantize/error_report.h"
#include "quantize/recipe.h"

namespace fathom {

// How files are called; their content is the same.
enum class FileLayout {
  kModelSlim,  // quant_model_weight_w8a16..., quant_model_description_w8a16.json
  kAscendV1,   // quant_model_weights..., quant_model_description.json with metadata
};

struct QuantizeOptions {
  std::string source;
  std::string destination;
  Recipe recipe;
  FileLayout layout = FileLayout::kModelSlim;
  uint64_t shard_bytes = LayoutOptions().shard_bytes;
  int num_threads = 1;
  ExistingModel existing = ExistingModel::kRefuse;
};

struct QuantizeResult {
  ErrorReport report;
  uint64_t source_bytes = 0;  // of data
  uint64_t data_bytes = 0;
  uint64_t num_shards = 0;
  uint64_t num_resumed_shards = 0;    // that an interrupted run had finished
  std::vector<std::string> left_out;  // tensors of the source that the model does not need
};

// Everything is written to DESTINATION.partial, which gets its final name as the last act; interrupted, the
// same call goes on behind the last shard that is whole. Checked before anything is written: the source is a
// whole float checkpoint, the recipe fits it, the destination is free and there is room. progress may be
// null.
Result<QuantizeResult> quantize(const QuantizeOptions& options, ProgressSink* progress);

}  // namespace fathom
