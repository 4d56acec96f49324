#include "model/synth.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "checkpoint/shard_writer.h"
#include "model/stored_layout.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr int kNumBuffers = 4;
constexpr size_t kMaxCopiedBytes = size_t{256} << 20;
constexpr const char* kConfigName = "config.json";
constexpr const char* kQuantStem = "quant_model_weight";
constexpr const char* kIndexEnding = ".safetensors.index.json";
constexpr const char* kCopiedNames[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                        "generation_config.json"};

Result<StoredLayout> layout_of(const SynthOptions& options, const std::vector<WeightSpec>& table) {
  std::vector<PlannedWeight> weights;
  for (const WeightSpec& spec : table) {
    weights.push_back(
        {spec.name, spec.shape, options.config.torch_dtype, default_quant_type(options.config, spec)});
  }
  return plan_layout(std::move(weights), {.stem = default_stem(options.config.quantize),
                                          .shard_bytes = options.shard_bytes,
                                          .group_size = options.group_size});
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

// Index, description and config, once the weights are there.
Status write_descriptions(const SynthOptions& options, const StoredLayout& layout) {
  const auto& quantize = options.config.quantize;
  if (layout.shards.size() > 1) {
    FATHOM_RETURN_IF_ERROR(write_file(join_path(options.output, index_file_name(layout)),
                                      write_shard_index(shard_index(layout), layout.data_bytes())));
  }
  if (quantize) {
    FATHOM_RETURN_IF_ERROR(write_file(join_path(options.output, description_file_name(quantize)),
                                      write_quant_description(quant_entries(layout))));
  }
  return write_file(join_path(options.output, kConfigName), dump_json(to_json(options.config), 2) + "\n");
}

// SynthOptions::repeat_after.
class RepeatingHead : public WeightValues {
 public:
  RepeatingHead(WeightSpec spec, const SynthOptions& options)
      : width_(spec.shape[1]),
        vocab_size_(spec.shape[0]),
        repeat_after_(options.repeat_after),
        value_bytes_(dtype_bytes(options.config.torch_dtype)),
        values_(named(std::move(spec), weight_name(WeightRole::kEmbedTokens)), options.config, options.seed) {
  }

  void copy(int64_t begin, int64_t end, std::byte* out) const override {
    while (begin < end) {
      const int64_t row = begin / width_;
      const int64_t count = std::min(end, (row + 1) * width_) - begin;
      const int64_t source = token_before(row, repeat_after_, vocab_size_) * width_ + begin % width_;
      values_.copy(source, source + count, out);
      begin += count;
      out += static_cast<size_t>(count) * value_bytes_;
    }
  }
  void read_row(int64_t row, std::span<float> out) const override {
    values_.read_row(token_before(row, repeat_after_, vocab_size_), out);
  }

 private:
  static WeightSpec named(WeightSpec spec, std::string name) {
    spec.name = std::move(name);
    return spec;
  }

  int64_t width_;
  int64_t vocab_size_;
  int64_t repeat_after_;
  size_t value_bytes_;
  SynthTensor values_;  // the embedding's, in the head's scale
};

Status write_weights(const SynthOptions& options, const std::vector<WeightSpec>& table,
                     const StoredLayout& layout, ProgressSink* progress) {
  WeightStream stream(layout, {.num_threads = options.num_threads}, progress);
  ShardWriter writer(kNumBuffers);
  const auto open = [&](size_t weight) -> std::unique_ptr<WeightValues> {
    if (options.repeat_after > 0 && table[weight].role == WeightRole::kLmHead)
      return std::make_unique<RepeatingHead>(table[weight], options);
    return std::make_unique<SynthTensor>(table[weight], options.config, options.seed);
  };
  const auto ignore_error = [](size_t, const WeightValues&, std::span<const RowError>) {
    return ok_status();
  };
  for (const PlannedShard& shard : layout.shards) {
    FATHOM_RETURN_IF_ERROR(writer.begin(join_path(options.output, shard.file_name), shard.declarations()));
    FATHOM_RETURN_IF_ERROR(stream.write_shard(shard, writer, open, ignore_error));
    FATHOM_RETURN_IF_ERROR(writer.end([](const WrittenShard&) { return ok_status(); }));
  }
  return writer.finish();
}

}  // namespace

int64_t token_before(int64_t token, int64_t repeat_after, int64_t vocab_size) {
  const int64_t first = token / repeat_after * repeat_after;
  const int64_t last = std::min(first + repeat_after, vocab_size) - 1;
  return token == first ? last : token - 1;
}

Result<SynthResult> synthesize(const SynthOptions& options, ProgressSink* progress) {
  if (options.repeat_after < 0)
    return invalid_argument("--repeat-after: {} is below 0", options.repeat_after);
  if (options.repeat_after > 0 && options.config.tie_word_embeddings)
    return invalid_argument("--repeat-after: needs a head of its own, which tie_word_embeddings denies");
  const std::vector<WeightSpec> table = weight_table(options.config);
  FATHOM_ASSIGN_OR_RETURN(const StoredLayout layout, layout_of(options, table));
  SynthResult result{.num_files = layout.shards.size(), .data_bytes = layout.data_bytes()};
  for (const PlannedShard& shard : layout.shards) result.num_tensors += shard.tensors.size();
  FATHOM_RETURN_IF_ERROR(prepare_output(options));
  FATHOM_RETURN_IF_ERROR(check_disk_space(options.output, layout.file_bytes()));
  FATHOM_RETURN_IF_ERROR(write_weights(options, table, layout, progress));
  FATHOM_RETURN_IF_ERROR(copy_tokenizer(options));
  FATHOM_RETURN_IF_ERROR(write_descriptions(options, layout));
  return result;
}

}  // namespace fathom
