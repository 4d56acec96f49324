#include "model/synth.h"

#include <algorithm>
#include <filesystem>
#include <future>

#include "base/file.h"
#include "base/json.h"
#include "base/thread_team.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/shard_index.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPieceBytes = int64_t{32} << 20;
constexpr uint64_t kSpareDiskBytes = uint64_t{64} << 20;  // file system's own needs, index, tokenizer
constexpr size_t kMaxCopiedBytes = size_t{256} << 20;
constexpr const char* kConfigName = "config.json";
constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kCopiedNames[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                        "generation_config.json"};

// The tensors of one file: table entries [begin, end).
struct Shard {
  std::string file_name;
  size_t begin = 0;
  size_t end = 0;
};

std::vector<TensorDeclaration> declarations_of(const std::vector<WeightSpec>& table, const Shard& shard,
                                               DType dtype) {
  std::vector<TensorDeclaration> declarations;
  for (size_t i = shard.begin; i < shard.end; ++i)
    declarations.push_back({table[i].name, dtype, table[i].shape});
  return declarations;
}

std::vector<Shard> cut_shards(const std::vector<WeightSpec>& table, const SynthOptions& options) {
  std::vector<Shard> shards;
  uint64_t bytes = 0;
  for (size_t i = 0; i < table.size(); ++i) {
    const uint64_t size =
        static_cast<uint64_t>(table[i].shape.num_elements()) * dtype_bytes(options.config.torch_dtype);
    if (shards.empty() || bytes + size > options.shard_bytes) {
      shards.push_back({"", i, i});
      bytes = 0;
    }
    shards.back().end = i + 1;
    bytes += size;
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    shards[i].file_name = shards.size() == 1
                              ? "model.safetensors"
                              : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
  }
  return shards;
}

bool is_model_file(const std::string& name) {
  return name == kConfigName || name == kIndexName || name == "model.safetensors" ||
         (name.starts_with("model-") && name.ends_with(".safetensors"));
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
      : options_(options),
        total_bytes_(total_bytes),
        progress_(progress),
        team_(options.num_threads),
        piece_(static_cast<size_t>(kPieceBytes)) {}

  Status write(const WeightSpec& spec, SafetensorsWriter& writer) {
    const SynthTensor tensor(spec, options_.config, options_.seed);
    const auto element_bytes = static_cast<int64_t>(dtype_bytes(options_.config.torch_dtype));
    const int64_t num_elements = spec.shape.num_elements();
    for (int64_t begin = 0; begin < num_elements; begin += kPieceBytes / element_bytes) {
      const int64_t count = std::min(num_elements - begin, kPieceBytes / element_bytes);
      team_.run([&](int thread) {
        const IndexRange share = static_share(count, 4096, thread, team_.size());
        tensor.fill(begin + share.begin, begin + share.end, piece_.data() + share.begin * element_bytes);
      });
      const auto bytes = static_cast<size_t>(count * element_bytes);
      FATHOM_RETURN_IF_ERROR(writer.append(std::span(piece_.data(), bytes)));
      done_bytes_ += bytes;
      if (progress_ != nullptr) progress_->report("writing", done_bytes_, total_bytes_);
    }
    return ok_status();
  }

 private:
  const SynthOptions& options_;
  uint64_t total_bytes_;
  ProgressSink* progress_;
  ThreadTeam team_;
  std::vector<std::byte> piece_;
  uint64_t done_bytes_ = 0;
};

}  // namespace

Result<SynthResult> synthesize(const SynthOptions& options, ProgressSink* progress) {
  const std::vector<WeightSpec> table = weight_table(options.config);
  const std::vector<Shard> shards = cut_shards(table, options);
  SynthResult result{.num_tensors = table.size(), .num_files = shards.size()};
  uint64_t disk_bytes = 0;
  for (const WeightSpec& spec : table) {
    result.data_bytes +=
        static_cast<uint64_t>(spec.shape.num_elements()) * dtype_bytes(options.config.torch_dtype);
  }
  for (const Shard& shard : shards) {
    disk_bytes += SafetensorsWriter::file_bytes(declarations_of(table, shard, options.config.torch_dtype));
  }
  FATHOM_RETURN_IF_ERROR(prepare_output(options));
  FATHOM_RETURN_IF_ERROR(check_disk_space(options.output, disk_bytes));

  TensorStreamer streamer(options, result.data_bytes, progress);
  ShardIndex index;
  // A file's flush to disk runs beside the making of the next one, so that the disk never waits.
  std::future<Status> flushed;
  const auto finish_previous = [&flushed] { return flushed.valid() ? flushed.get() : ok_status(); };
  for (const Shard& shard : shards) {
    const auto declarations = declarations_of(table, shard, options.config.torch_dtype);
    FATHOM_ASSIGN_OR_RETURN(
        auto writer, SafetensorsWriter::create(join_path(options.output, shard.file_name), declarations));
    for (size_t i = shard.begin; i < shard.end; ++i) {
      FATHOM_RETURN_IF_ERROR(streamer.write(table[i], *writer));
      index.locations.push_back({table[i].name, static_cast<uint32_t>(index.files.size())});
    }
    FATHOM_RETURN_IF_ERROR(finish_previous());
    flushed = std::async(std::launch::async, [file = std::move(writer)] { return file->commit(); });
    index.files.push_back(shard.file_name);
  }
  FATHOM_RETURN_IF_ERROR(finish_previous());
  FATHOM_RETURN_IF_ERROR(copy_tokenizer(options));
  if (shards.size() > 1) {
    FATHOM_RETURN_IF_ERROR(
        write_file(join_path(options.output, kIndexName), write_shard_index(index, result.data_bytes)));
  }
  FATHOM_RETURN_IF_ERROR(
      write_file(join_path(options.output, kConfigName), dump_json(to_json(options.config), 2) + "\n"));
  return result;
}

}  // namespace fathom
