#include "model/synth.h"

#include <algorithm>
#include <filesystem>
#include <future>
#include <unordered_map>

#include "base/file.h"
#include "base/json.h"
#include "base/thread_team.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/shard_index.h"
#include "model/stored_weight.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPieceBytes = int64_t{32} << 20;
constexpr uint64_t kSpareDiskBytes = uint64_t{64} << 20;  // file system's own needs, index, tokenizer
constexpr size_t kMaxCopiedBytes = size_t{256} << 20;
constexpr const char* kConfigName = "config.json";
constexpr const char* kFloatStem = "model";
constexpr const char* kQuantStem = "quant_model_weight";
constexpr const char* kIndexEnding = ".safetensors.index.json";
constexpr const char* kCopiedNames[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                        "generation_config.json"};

// One tensor of a file: a weight of the table, or the scale or offset of one that is int8.
struct StoredTensor {
  TensorDeclaration declaration;
  size_t weight = 0;  // table index
  enum class Content : uint8_t { kWeight, kScale, kOffset } content = Content::kWeight;

  uint64_t num_bytes() const {
    return static_cast<uint64_t>(declaration.shape.num_elements()) * dtype_bytes(declaration.dtype);
  }
};

struct Shard {
  std::string file_name;
  std::vector<StoredTensor> tensors;  // in the order of the file
  uint64_t num_bytes = 0;

  std::vector<TensorDeclaration> declarations() const {
    std::vector<TensorDeclaration> list;
    for (const StoredTensor& tensor : tensors) list.push_back(tensor.declaration);
    return list;
  }
};

bool is_int8(const StoredTensor& tensor) { return tensor.declaration.dtype == DType::kInt8; }

// The tensors that one weight is stored as.
std::vector<StoredTensor> stored_tensors(const std::vector<WeightSpec>& table, size_t index,
                                         const ModelConfig& config) {
  using enum StoredTensor::Content;
  const WeightSpec& spec = table[index];
  if (default_quant_type(config, spec) == QuantType::kFloat)
    return {{{spec.name, config.torch_dtype, spec.shape}, index, kWeight}};
  const Shape per_row = {spec.shape[0], 1};
  return {{{spec.name, DType::kInt8, spec.shape}, index, kWeight},
          {{scale_name(spec.name), DType::kFloat32, per_row}, index, kScale},
          {{offset_name(spec.name), DType::kFloat32, per_row}, index, kOffset}};
}

std::vector<Shard> cut_shards(const std::vector<WeightSpec>& table, const SynthOptions& options) {
  std::vector<Shard> shards;
  for (size_t i = 0; i < table.size(); ++i) {
    std::vector<StoredTensor> tensors = stored_tensors(table, i, options.config);
    uint64_t size = 0;
    for (const StoredTensor& tensor : tensors) size += tensor.num_bytes();
    if (shards.empty() || shards.back().num_bytes + size > options.shard_bytes) shards.emplace_back();
    shards.back().num_bytes += size;
    std::move(tensors.begin(), tensors.end(), std::back_inserter(shards.back().tensors));
  }
  const auto& quantize = options.config.quantize;
  const std::string stem =
      quantize ? fmt::format("{}_{}", kQuantStem, quant_type_name(*quantize)) : kFloatStem;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string number = shards.size() == 1 ? "" : fmt::format("-{:05}-of-{:05}", i + 1, shards.size());
    shards[i].file_name = fmt::format("{}{}.safetensors", stem, number);
    // Larger elements first, so that each tensor is aligned behind int8 tensors of odd sizes.
    std::stable_sort(shards[i].tensors.begin(), shards[i].tensors.end(), [](const auto& a, const auto& b) {
      return dtype_bytes(a.declaration.dtype) > dtype_bytes(b.declaration.dtype);
    });
  }
  return shards;
}

// A file that a checkpoint made here, by another config perhaps, may consist of.
bool is_model_file(const std::string& name) {
  const bool is_stem =
      name.starts_with("model.") || name.starts_with("model-") || name.starts_with(kQuantStem);
  return name == kConfigName || (is_stem && name.ends_with(".safetensors")) ||
         (is_stem && name.ends_with(kIndexEnding)) ||
         (name.starts_with("quant_model_description") && name.ends_with(".json"));
}

// An existing folder is empty afterwards, or at least without a model.
Status prepare_output(const SynthOptions& options) {
  FATHOM_RETURN_IF_ERROR(make_directories(options.output));
  std::error_code error;
  std::vector<fs::path> model_files;
  size_t num_entries = 0;
  for (fs::directory_iterator it(options.output, error), end; !error && it != end; it.increment(error)) {
    ++num_entries;
    if (is_model_file(it->path().filename().string())) model_files.push_back(it->path());
  }
  if (error) return io_error("{}: cannot list: {}", options.output, error.message());
  if (num_entries == 0) return ok_status();
  if (options.existing_output == ExistingOutput::kRefuse) {
    return invalid_argument("{}: folder is not empty: choose another, or replace its model with --force",
                            options.output);
  }
  const auto source = options.tokenizer_directory.value_or("");
  if (!source.empty() && fs::equivalent(source, options.output, error)) {
    return invalid_argument("{}: output and source are the same folder", options.output);
  }
  for (const fs::path& file : model_files) {
    if (!fs::remove(file, error)) return io_error("{}: cannot remove: {}", file.string(), error.message());
  }
  return ok_status();
}

Status check_disk_space(const std::string& directory, uint64_t needed) {
  std::error_code error;
  const fs::space_info space = fs::space(directory, error);
  if (error) return io_error("{}: cannot read the free disk space: {}", directory, error.message());
  if (space.available < needed + kSpareDiskBytes) {
    return resource_exhausted("{}: the model needs {} MB of disk space, {} MB are free", directory,
                              (needed + kSpareDiskBytes) / 1000000, space.available / 1000000);
  }
  return ok_status();
}

Status copy_tokenizer(const SynthOptions& options) {
  if (!options.tokenizer_directory) return ok_status();
  for (const char* name : kCopiedNames) {
    const auto text = read_file(join_path(*options.tokenizer_directory, name), kMaxCopiedBytes);
    if (!text.ok() && text.status().code() == ErrorCode::kNotFound) continue;
    if (!text.ok()) return text.status();
    FATHOM_RETURN_IF_ERROR(write_file(join_path(options.output, name), *text));
  }
  return ok_status();
}

// Fills and writes piece after piece.
class TensorStreamer {
 public:
  TensorStreamer(const SynthOptions& options, uint64_t total_bytes, ProgressSink* progress)
      : options_(options), total_bytes_(total_bytes), progress_(progress), team_(options.num_threads) {}

  // All tensors of the shard. Scales and offsets come with their weight, wherever in the file they lie.
  Status write(const std::vector<WeightSpec>& table, const Shard& shard, SafetensorsWriter& writer) {
    using enum StoredTensor::Content;
    std::unordered_map<size_t, size_t> scales;  // where in the shard the scale of a table's weight is
    for (size_t i = 0; i < shard.tensors.size(); ++i) {
      const StoredTensor& tensor = shard.tensors[i];
      if (tensor.content == kScale) {
        scales[tensor.weight] = i;
      } else if (tensor.content == kOffset) {
        const std::vector<float> zeros(static_cast<size_t>(tensor.declaration.shape[0]));
        FATHOM_RETURN_IF_ERROR(put(writer, i, 0, std::as_bytes(std::span(zeros))));
      }
    }
    for (size_t i = 0; i < shard.tensors.size(); ++i) {
      const StoredTensor& tensor = shard.tensors[i];
      if (tensor.content != kWeight) continue;
      const WeightSpec& spec = table[tensor.weight];
      FATHOM_RETURN_IF_ERROR(is_int8(tensor) ? write_int8(spec, i, scales.at(tensor.weight), writer)
                                             : write_float(spec, i, writer));
    }
    return ok_status();
  }

 private:
  Status write_float(const WeightSpec& spec, size_t place, SafetensorsWriter& writer) {
    const SynthTensor tensor(spec, options_.config, options_.seed);
    const auto element_bytes = static_cast<int64_t>(dtype_bytes(options_.config.torch_dtype));
    const int64_t num_elements = spec.shape.num_elements();
    piece_.resize(static_cast<size_t>(kPieceBytes));
    for (int64_t begin = 0; begin < num_elements; begin += kPieceBytes / element_bytes) {
      const int64_t count = std::min(num_elements - begin, kPieceBytes / element_bytes);
      team_.run([&](int thread) {
        const IndexRange share = static_share(count, 4096, thread, team_.size());
        tensor.fill(begin + share.begin, begin + share.end, piece_.data() + share.begin * element_bytes);
      });
      const auto bytes = std::span(piece_).first(static_cast<size_t>(count * element_bytes));
      FATHOM_RETURN_IF_ERROR(put(writer, place, static_cast<uint64_t>(begin * element_bytes), bytes));
    }
    return ok_status();
  }

  // In pieces of whole rows, for a row has one scale.
  Status write_int8(const WeightSpec& spec, size_t place, size_t scale_place, SafetensorsWriter& writer) {
    const SynthTensor tensor(spec, options_.config, options_.seed);
    const int64_t row_size = spec.shape[1];
    const int64_t num_rows = spec.shape[0];
    const int64_t piece_rows = std::max<int64_t>(kPieceBytes / row_size, 1);
    std::vector<float> scales(static_cast<size_t>(num_rows));
    piece_.resize(static_cast<size_t>(std::max(kPieceBytes, row_size)));
    for (int64_t begin = 0; begin < num_rows; begin += piece_rows) {
      const int64_t count = std::min(num_rows - begin, piece_rows);
      team_.run([&](int thread) {
        const IndexRange share = static_share(count, 1, thread, team_.size());
        tensor.fill_int8(begin + share.begin, begin + share.end, row_size,
                         reinterpret_cast<int8_t*>(piece_.data()) + share.begin * row_size,
                         scales.data() + begin + share.begin);
      });
      const auto bytes = std::span(piece_).first(static_cast<size_t>(count * row_size));
      FATHOM_RETURN_IF_ERROR(put(writer, place, static_cast<uint64_t>(begin * row_size), bytes));
    }
    return put(writer, scale_place, 0, std::as_bytes(std::span(scales)));
  }

  Status put(SafetensorsWriter& writer, size_t place, uint64_t offset, std::span<const std::byte> bytes) {
    FATHOM_RETURN_IF_ERROR(writer.write(place, offset, bytes));
    done_bytes_ += bytes.size();
    if (progress_ != nullptr) progress_->report("writing", done_bytes_, total_bytes_);
    return ok_status();
  }

  const SynthOptions& options_;
  uint64_t total_bytes_;
  ProgressSink* progress_;
  ThreadTeam team_;
  std::vector<std::byte> piece_;
  uint64_t done_bytes_ = 0;
};

// Index, description and config, once the weights are there.
Status write_descriptions(const SynthOptions& options, const std::vector<WeightSpec>& table,
                          const std::vector<Shard>& shards, uint64_t data_bytes) {
  const auto& quantize = options.config.quantize;
  ShardIndex index;
  std::vector<QuantEntry> entries;
  for (const Shard& shard : shards) {
    for (const StoredTensor& tensor : shard.tensors) {
      const std::string& name = tensor.declaration.name;
      index.locations.push_back({name, static_cast<uint32_t>(index.files.size())});
      entries.push_back({name, default_quant_type(options.config, table[tensor.weight])});
    }
    index.files.push_back(shard.file_name);
  }
  if (shards.size() > 1) {
    const std::string& first = shards[0].file_name;
    const std::string name = first.substr(0, first.find('-')) + kIndexEnding;
    FATHOM_RETURN_IF_ERROR(write_file(join_path(options.output, name), write_shard_index(index, data_bytes)));
  }
  if (quantize) {
    FATHOM_RETURN_IF_ERROR(write_file(join_path(options.output, description_file_name(quantize)),
                                      write_quant_description(entries)));
  }
  return write_file(join_path(options.output, kConfigName), dump_json(to_json(options.config), 2) + "\n");
}

}  // namespace

Result<SynthResult> synthesize(const SynthOptions& options, ProgressSink* progress) {
  const std::vector<WeightSpec> table = weight_table(options.config);
  const std::vector<Shard> shards = cut_shards(table, options);
  SynthResult result{.num_files = shards.size()};
  uint64_t disk_bytes = 0;
  for (const Shard& shard : shards) {
    result.num_tensors += shard.tensors.size();
    result.data_bytes += shard.num_bytes;
    disk_bytes += SafetensorsWriter::file_bytes(shard.declarations());
  }
  FATHOM_RETURN_IF_ERROR(prepare_output(options));
  FATHOM_RETURN_IF_ERROR(check_disk_space(options.output, disk_bytes));

  TensorStreamer streamer(options, result.data_bytes, progress);
  // A file's flush to disk runs beside the making of the next one, so that the disk never waits.
  std::future<Status> flushed;
  const auto finish_previous = [&flushed] { return flushed.valid() ? flushed.get() : ok_status(); };
  for (const Shard& shard : shards) {
    FATHOM_ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::create(join_path(options.output, shard.file_name),
                                                                   shard.declarations()));
    FATHOM_RETURN_IF_ERROR(streamer.write(table, shard, *writer));
    FATHOM_RETURN_IF_ERROR(finish_previous());
    flushed = std::async(std::launch::async, [file = std::move(writer)] { return file->commit(); });
  }
  FATHOM_RETURN_IF_ERROR(finish_previous());
  FATHOM_RETURN_IF_ERROR(copy_tokenizer(options));
  FATHOM_RETURN_IF_ERROR(write_descriptions(options, table, shards, result.data_bytes));
  return result;
}

}  // namespace fathom
