#include "shard/shard.h"

#include <filesystem>
#include <memory>

#include "base/checksum.h"
#include "base/file.h"
#include "base/log.h"
#include "checkpoint/digests.h"
#include "checkpoint/side_files.h"
#include "checkpoint/tensor_stream.h"
#include "model/memory_plan.h"
#include "model/stored_weight.h"
#include "model/weight_window.h"
#include "shard/shard_plan.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 1;  // of what a run makes: a new one does not go on where an older was interrupted
constexpr const char* kConfigName = "config.json";
constexpr OutputKind kShardedModel = {"sharded model", "sharding"};
// Each rank has a writer of its own: enough for one buffer to fill while another is written.
constexpr int kNumBuffers = 2;
constexpr size_t kPieceBytes = size_t{4} << 20;
// How far reading runs ahead: enough for a fast disk's queue.
constexpr uint64_t kReadAheadBytes = uint64_t{256} << 20;
constexpr size_t kMaxTextBytes = kMaxDescriptionBytes;

// What is read, checked.
struct Model {
  ModelConfig config;
  Json config_json;
  QuantDescription description;
  std::unique_ptr<Checkpoint> checkpoint;
  std::vector<WeightSpec> table;
  std::vector<std::string> copied;  // files that are taken over as they are
  std::string digest;

  ShardSource source() const { return {*checkpoint, description, config, table}; }
};

// Of what decides which bytes every rank's files have.
Result<std::string> digest_of(const Model& model) {
  std::string text = shape_digest(*model.checkpoint) + sample_digest(*model.checkpoint);
  for (const std::string& path :
       {join_path(model.checkpoint->directory(), kConfigName), model.description.path()}) {
    if (path.empty()) continue;
    FATHOM_ASSIGN_OR_RETURN(const std::string file, read_file(path, kMaxTextBytes));
    text += checksum_of(file);
  }
  return checksum_of(text);
}

Result<Model> open_model(const std::string& directory) {
  Model model;
  FATHOM_ASSIGN_OR_RETURN(model.config, load_model_config(directory));
  FATHOM_ASSIGN_OR_RETURN(model.config_json, read_json_file(join_path(directory, kConfigName), JsonLimits{}));
  FATHOM_ASSIGN_OR_RETURN(model.checkpoint, Checkpoint::open(directory));
  FATHOM_ASSIGN_OR_RETURN(model.description, QuantDescription::load(directory, model.config));
  FATHOM_RETURN_IF_ERROR(check_weights(*model.checkpoint, model.config, model.description));
  model.table = weight_table(model.config);
  FATHOM_ASSIGN_OR_RETURN(model.copied, side_files(directory));
  model.copied.emplace_back(kConfigName);
  if (model.description.present())
    model.copied.push_back(fs::path(model.description.path()).filename().string());
  FATHOM_ASSIGN_OR_RETURN(model.digest, digest_of(model));
  return model;
}

Result<Sharding> choose_sharding(const ShardOptions& options, const Model& model) {
  Sharding sharding{.num_ranks = options.num_ranks,
                    .num_slices = options.num_slices == 0 ? options.num_ranks : options.num_slices,
                    .num_expert_groups = options.num_expert_groups};
  FATHOM_RETURN_IF_ERROR(check_sharding(model.config, sharding));
  sharding.width_unit = width_unit_of(*model.checkpoint, model.config);
  FATHOM_RETURN_IF_ERROR(check_sliced_groups(*model.checkpoint, model.config, sharding));
  return sharding;
}

Json options_json(const ShardOptions& options, const Sharding& sharding) {
  return {{"ranks", sharding.num_ranks},
          {"moe_ep", sharding.num_expert_groups},
          {"slices", sharding.num_slices},
          {"file_bytes", options.file_bytes},
          {"version", kVersion}};
}

// A run's parts in one place.
class Sharder {
 public:
  Sharder(const ShardOptions& options, const Model& model, const Sharding& sharding, ProgressSink* progress)
      : options_(options),
        model_(model),
        source_(model.source()),
        sharding_(sharding),
        progress_(progress),
        stages_(plan_stages(source_, sharding, options.file_bytes)),
        files_(static_cast<size_t>(sharding.num_ranks), std::vector<ManifestFile>(stages_.size())),
        total_bytes_(weight_bytes({0, static_cast<int64_t>(model.table.size())})) {}

  uint64_t output_bytes() const;
  Status write_weights(OutputFolder& folder);
  Status write_rest(const OutputFolder& folder) const;
  ShardResult result() const;

 private:
  size_t num_ranks() const { return files_.size(); }
  PlannedRankFile plan(size_t rank, size_t stage) const;
  std::string owner_of(const PlannedRankFile& file) const;
  uint64_t weight_bytes(IndexRange weights) const;
  bool take_records(const OutputFolder& folder, size_t stage);
  Status write_stages(OutputFolder& folder, size_t first);
  Status write_stage(OutputFolder& folder, size_t stage);
  Status end_file(OutputFolder& folder, size_t rank, size_t stage, PlannedRankFile file);
  Status write_weight(size_t weight, const std::vector<PlannedRankFile>& files, std::vector<size_t>& next);
  Status write_piece(ShardWriter& writer, const PlacedPiece& piece, const WeightWindow& window);
  ShardedFolder description() const;

  const ShardOptions& options_;
  const Model& model_;
  const ShardSource source_;
  const Sharding sharding_;
  ProgressSink* progress_;
  const std::vector<IndexRange> stages_;
  // By rank and stage. Of files being written, each by its own writer's flushing thread.
  std::vector<std::vector<ManifestFile>> files_;
  size_t num_resumed_stages_ = 0;
  const uint64_t total_bytes_;  // of the source's weights
  uint64_t done_bytes_ = 0;
  std::unique_ptr<TensorStream> stream_;
  std::vector<std::unique_ptr<ShardWriter>> writers_;  // by rank
};

std::string record_name(size_t rank, size_t stage) {
  return fmt::format("file-{:05}-rank-{:02}", stage + 1, rank);
}

PlannedRankFile Sharder::plan(size_t rank, size_t stage) const {
  Sharding of_rank = sharding_;
  of_rank.rank = static_cast<int64_t>(rank);
  return plan_rank_file(source_, of_rank, stages_, stage);
}

// What the header says, so that a file of another model, sharding or rank is told by it.
std::string Sharder::owner_of(const PlannedRankFile& file) const {
  return checksum_of(fmt::format(
      "{} {} {}", model_.digest,
      sharding_text(sharding_.num_ranks, sharding_.num_expert_groups, sharding_.num_slices), file.name));
}

uint64_t Sharder::output_bytes() const {
  uint64_t sum = 0;
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    for (size_t rank = 0; rank < num_ranks(); ++rank) {
      const PlannedRankFile file = plan(rank, stage);
      sum += SafetensorsWriter::file_bytes(file.tensors, owner_of(file));
    }
  }
  std::error_code error;
  for (const std::string& name : model_.copied)
    sum += fs::file_size(join_path(model_.checkpoint->directory(), name), error);
  return sum;
}

uint64_t Sharder::weight_bytes(IndexRange weights) const {
  uint64_t sum = 0;
  for (int64_t weight = weights.begin; weight < weights.end; ++weight)
    sum += model_.checkpoint->extent_of(model_.table[static_cast<size_t>(weight)].name).size;
  return sum;
}

// Whether an interrupted run has left the stage's files whole.
bool Sharder::take_records(const OutputFolder& folder, size_t stage) {
  for (size_t rank = 0; rank < num_ranks(); ++rank) {
    const std::optional<Json> record = folder.record(record_name(rank, stage));
    if (!record) return false;
    const std::string name =
        rank_file_name(static_cast<int64_t>(rank), sharding_.num_ranks, stage, stages_.size());
    auto file = folder.recorded_file(*record, name);
    if (!file) return false;
    files_[rank][stage] = std::move(*file);
  }
  return true;
}

Status Sharder::write_weights(OutputFolder& folder) {
  std::vector<std::string> whole;
  size_t first = 0;
  for (; first < stages_.size() && take_records(folder, first); ++first) {
    for (const std::vector<ManifestFile>& files : files_) whole.push_back(files[first].name);
    done_bytes_ += weight_bytes(stages_[first]);
  }
  num_resumed_stages_ = first;
  if (first > 0) log_warning("{}: going on behind part {} of {}", folder.path(), first, stages_.size());
  FATHOM_RETURN_IF_ERROR(folder.keep_only(whole));
  const Status status = write_stages(folder, first);
  writers_.clear();  // whatever happened, nothing writes into the folder from here on
  return status;
}

Status Sharder::write_stages(OutputFolder& folder, size_t first) {
  if (first == stages_.size()) return ok_status();
  std::vector<std::string> names;
  for (auto i = static_cast<size_t>(stages_[first].begin); i < model_.table.size(); ++i)
    names.push_back(model_.table[i].name);
  stream_ = std::make_unique<TensorStream>(*model_.checkpoint, std::move(names), kReadAheadBytes);
  for (size_t rank = 0; rank < num_ranks(); ++rank)
    writers_.push_back(std::make_unique<ShardWriter>(kNumBuffers));
  for (size_t stage = first; stage < stages_.size(); ++stage)
    FATHOM_RETURN_IF_ERROR(write_stage(folder, stage));
  for (const auto& writer : writers_) FATHOM_RETURN_IF_ERROR(writer->finish());
  return ok_status();
}

Status Sharder::write_stage(OutputFolder& folder, size_t stage) {
  std::vector<PlannedRankFile> files;
  for (size_t rank = 0; rank < num_ranks(); ++rank) {
    files.push_back(plan(rank, stage));
    FATHOM_RETURN_IF_ERROR(
        writers_[rank]->begin(folder.file(files[rank].name), files[rank].tensors, owner_of(files[rank])));
  }
  std::vector<size_t> next(num_ranks());  // piece of each file
  for (int64_t weight = stages_[stage].begin; weight < stages_[stage].end; ++weight)
    FATHOM_RETURN_IF_ERROR(write_weight(static_cast<size_t>(weight), files, next));
  for (size_t rank = 0; rank < num_ranks(); ++rank)
    FATHOM_RETURN_IF_ERROR(end_file(folder, rank, stage, std::move(files[rank])));
  return ok_status();
}

Status Sharder::end_file(OutputFolder& folder, size_t rank, size_t stage, PlannedRankFile file) {
  return writers_[rank]->end(
      [this, &folder, rank, stage, file = std::move(file)](const WrittenShard& written) -> Status {
        ManifestFile entry = manifest_file(file.name, file.tensors, written);
        FATHOM_RETURN_IF_ERROR(folder.save_record(record_name(rank, stage), to_json(entry)));
        files_[rank][stage] = std::move(entry);
        return ok_status();
      });
}

// Every rank's pieces of one weight.
Status Sharder::write_weight(size_t weight, const std::vector<PlannedRankFile>& files,
                             std::vector<size_t>& next) {
  const std::string& name = model_.table[weight].name;
  FATHOM_ASSIGN_OR_RETURN(const StoredWeight stored,
                          stored_weight(*model_.checkpoint, model_.description, model_.table[weight]));
  FATHOM_ASSIGN_OR_RETURN(const std::byte* const data, stream_->take(name));
  for (size_t rank = 0; rank < num_ranks(); ++rank) {
    const std::vector<PlacedPiece>& pieces = files[rank].pieces;
    for (; next[rank] < pieces.size() && pieces[next[rank]].weight == weight; ++next[rank]) {
      const PlacedPiece& piece = pieces[next[rank]];
      FATHOM_RETURN_IF_ERROR(
          write_piece(*writers_[rank], piece, cut_weight(name, stored, data, piece.slice)));
    }
  }
  stream_->give_back(name);
  done_bytes_ += stored.tensor.num_bytes();
  if (progress_ != nullptr) progress_->report("sharding", done_bytes_, total_bytes_);
  return ok_status();
}

Status write_bytes(ShardWriter& writer, size_t tensor, const void* data, size_t size) {
  const std::span bytes(static_cast<const std::byte*>(data), size);
  for (size_t begin = 0; begin < size; begin += kPieceBytes) {
    const auto part = bytes.subspan(begin, std::min(kPieceBytes, size - begin));
    std::vector<std::byte> buffer = writer.take_buffer();
    buffer.assign(part.begin(), part.end());
    FATHOM_RETURN_IF_ERROR(writer.write(tensor, std::move(buffer)));
  }
  return ok_status();
}

Status Sharder::write_piece(ShardWriter& writer, const PlacedPiece& piece, const WeightWindow& window) {
  FATHOM_RETURN_IF_ERROR(write_bytes(writer, piece.tensor, window.tensor.data, window.tensor.num_bytes()));
  if (window.type == QuantType::kFloat) return ok_status();
  FATHOM_RETURN_IF_ERROR(
      write_bytes(writer, piece.scale, window.scales.data(), window.scales.size() * sizeof(float)));
  if (!is_int4(window.type)) return ok_status();
  const int64_t factors = piece.slice.rows.size() * num_groups(piece.slice.cols.size(), window.group_size);
  return write_bytes(writer, piece.factors, window.source().factors, static_cast<size_t>(factors));
}

ShardedFolder Sharder::description() const {
  ShardedFolder folder{.num_ranks = sharding_.num_ranks,
                       .num_slices = sharding_.num_slices,
                       .num_expert_groups = sharding_.num_expert_groups,
                       .width_unit = sharding_.width_unit,
                       .source_digest = model_.digest,
                       .groups = {},
                       .files = {},
                       .checksum = {}};
  Sharding of_rank = sharding_;
  for (of_rank.rank = 0; of_rank.rank < sharding_.num_ranks; ++of_rank.rank) {
    const auto groups = weight_groups(model_.config, of_rank, *model_.checkpoint, model_.description);
    for (size_t i = 0; i < groups.size(); ++i) {
      if (of_rank.rank == 0) {
        folder.groups.push_back({.role = std::string(role_name(groups[i].role)),
                                 .dtype = groups[i].dtype,
                                 .type = groups[i].type,
                                 .num_tensors = groups[i].num_tensors,
                                 .num_elements = groups[i].num_elements,
                                 .bytes = groups[i].bytes,
                                 .rank_bytes = {}});
      }
      folder.groups[i].rank_bytes.push_back(groups[i].rank_bytes);
    }
  }
  for (const std::vector<ManifestFile>& files : files_) {
    std::vector<RankFile>& rank_files = folder.files.emplace_back();
    for (const ManifestFile& file : files)
      rank_files.push_back({file.name, file.bytes, file.checksum, content_digest(file)});
  }
  return folder;
}

Status Sharder::write_rest(const OutputFolder& folder) const {
  const Json options = options_json(options_, sharding_);
  std::vector<std::pair<std::string, std::string>> texts = {{kShardingName, write_sharding(description())}};
  for (size_t rank = 0; rank < num_ranks(); ++rank) {
    texts.emplace_back(rank_manifest_name(static_cast<int64_t>(rank), sharding_.num_ranks),
                       write_manifest({options, files_[rank]}));
  }
  std::vector<ManifestFile> files;
  for (const std::string& name : model_.copied) {
    FATHOM_ASSIGN_OR_RETURN(ManifestFile file,
                            copy_side_file(model_.checkpoint->directory(), folder.path(), name));
    files.push_back(std::move(file));
  }
  for (const auto& [name, text] : texts) {
    FATHOM_ASSIGN_OR_RETURN(ManifestFile file, write_side_file(folder.path(), name, text));
    files.push_back(std::move(file));
  }
  return write_file(folder.file(kManifestName), write_manifest({options, std::move(files)}));
}

ShardResult Sharder::result() const {
  ShardResult result{.sharding = sharding_,
                     .source_bytes = model_.checkpoint->data_bytes(),
                     .rank_bytes = {},
                     .num_files = num_ranks() * stages_.size(),
                     .num_resumed_files = num_ranks() * num_resumed_stages_,
                     .left_out = unused_tensors(*model_.checkpoint, model_.config)};
  for (const std::vector<ManifestFile>& files : files_) {
    uint64_t& bytes = result.rank_bytes.emplace_back(0);
    for (const ManifestFile& file : files) bytes += file.bytes;
  }
  return result;
}

}  // namespace

Result<ShardResult> shard_model(const ShardOptions& options, ProgressSink* progress) {
  FATHOM_ASSIGN_OR_RETURN(const Model model, open_model(options.source));
  FATHOM_ASSIGN_OR_RETURN(const Sharding sharding, choose_sharding(options, model));
  FATHOM_ASSIGN_OR_RETURN(const OutputPaths paths, check_destination(options.source, options.destination,
                                                                     kShardedModel, options.existing));
  Sharder sharder(options, model, sharding, progress);
  FATHOM_RETURN_IF_ERROR(check_room(paths, sharder.output_bytes()));
  FATHOM_ASSIGN_OR_RETURN(
      const auto folder,
      OutputFolder::open(paths, options.existing,
                         {options_json(options, sharding),
                          source_identity(*model.checkpoint, model.config_json, model.copied)}));
  FATHOM_RETURN_IF_ERROR(folder->with_advice(sharder.write_weights(*folder)));
  FATHOM_RETURN_IF_ERROR(sharder.write_rest(*folder));
  FATHOM_RETURN_IF_ERROR(folder->publish());
  return sharder.result();
}

}  // namespace fathom
