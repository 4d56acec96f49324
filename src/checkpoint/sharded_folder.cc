#include "checkpoint/sharded_folder.h"

#include "base/checksum.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/shard_index.h"

namespace fathom {
namespace {

constexpr int kShardingVersion = 1;
constexpr uint64_t kMaxBytes = uint64_t{1} << 50;
constexpr JsonLimits kShardingLimits = {.max_bytes = size_t{64} << 20, .max_depth = 8, .max_object_keys = 64};

// Reads one object's members; the first that is not as it should be is kept as the error.
class Members {
 public:
  Members(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json_.is_object()) fail("is not an object");
  }

  const Json& list(const char* key) {
    static const Json none = Json::array();
    const Json* member = find(key);
    if (member == nullptr || member->is_array()) return member == nullptr ? none : *member;
    fail(fmt::format("\"{}\" is not a list", key));
    return none;
  }
  const Json& object(const char* key) {
    static const Json none = Json::object();
    const Json* member = find(key);
    return member == nullptr ? none : *member;
  }
  std::string text(const char* key) {
    const Json* member = find(key);
    if (member != nullptr && member->is_string()) return member->get<std::string>();
    fail(fmt::format("\"{}\" is not a string", key));
    return {};
  }
  uint64_t number(const char* key, uint64_t lowest, uint64_t highest) {
    const Json* member = find(key);
    if (member != nullptr && member->is_number_unsigned() && member->get<uint64_t>() >= lowest &&
        member->get<uint64_t>() <= highest)
      return member->get<uint64_t>();
    fail(fmt::format("\"{}\" is not a number in [{}, {}]", key, lowest, highest));
    return lowest;
  }
  int64_t count(const char* key, int64_t highest) {
    return static_cast<int64_t>(number(key, 1, static_cast<uint64_t>(highest)));
  }
  void fail(const std::string& what) {
    if (status_.ok()) status_ = invalid_data("{}: {}", where_, what);
  }
  const Status& status() const { return status_; }

 private:
  const Json* find(const char* key) {
    if (!json_.is_object()) return nullptr;
    const auto member = json_.find(key);
    if (member != json_.end()) return &*member;
    fail(fmt::format("has no \"{}\"", key));
    return nullptr;
  }

  const Json& json_;
  std::string where_;
  Status status_;
};

Result<RankFile> parse_file(const Json& json, const std::string& path) {
  Members members(json, path);
  RankFile file{.name = members.text("name"),
                .bytes = members.number("bytes", 1, kMaxBytes),
                .header_checksum = members.text("header_xxh3"),
                .digest = members.text("digest")};
  const bool is_name = file.name.starts_with("rank-") && file.name.ends_with(".safetensors") &&
                       file.name.find('/') == std::string::npos;
  if (!is_name) members.fail(fmt::format("\"{}\" is not the name of a rank's file", file.name.substr(0, 80)));
  FATHOM_RETURN_IF_ERROR(members.status());
  return file;
}

Result<ShardedGroup> parse_group(const Json& json, int64_t num_ranks, const std::string& path) {
  Members members(json, path);
  ShardedGroup group{.role = members.text("role"),
                     .num_tensors = members.count("tensors", INT64_MAX),
                     .num_elements = members.count("elements", INT64_MAX),
                     .bytes = members.number("bytes", 1, kMaxBytes),
                     .rank_bytes = {}};
  const std::string dtype_text = members.text("dtype");
  const std::string type_text = members.text("type");
  const auto dtype = dtype_from_name(dtype_text);
  const auto type = quant_type_from_description(type_text);
  if (!dtype || !type) members.fail(fmt::format("\"{}\" is stored as an unknown type", group.role));
  for (const Json& bytes : members.list("rank_bytes")) {
    const bool is_size = bytes.is_number_unsigned() && bytes.get<uint64_t>() <= kMaxBytes;
    if (!is_size) members.fail("\"rank_bytes\" are not numbers of bytes");
    group.rank_bytes.push_back(is_size ? bytes.get<uint64_t>() : 0);
  }
  if (group.rank_bytes.size() != static_cast<size_t>(num_ranks))
    members.fail(fmt::format("\"rank_bytes\" are not those of {} ranks", num_ranks));
  FATHOM_RETURN_IF_ERROR(members.status());
  group.dtype = *dtype;
  group.type = *type;
  return group;
}

Status parse_numbers(Members& members, ShardedFolder& folder) {
  folder.num_ranks = members.count("ranks", kMaxFolderSlices);
  folder.num_slices = members.count("slices", kMaxFolderSlices);
  folder.num_expert_groups = members.count("moe_ep", kMaxFolderSlices);
  folder.width_unit = members.count("width_unit", 1024);
  FATHOM_RETURN_IF_ERROR(members.status());
  if (folder.num_slices % folder.num_ranks != 0 || folder.num_slices % folder.num_expert_groups != 0) {
    members.fail(fmt::format("{} do not fit each other",
                             sharding_text(folder.num_ranks, folder.num_expert_groups, folder.num_slices)));
  }
  return members.status();
}

}  // namespace

Result<std::optional<ShardedFolder>> read_sharding(const std::string& directory) {
  const std::string path = join_path(directory, kShardingName);
  if (!path_exists(path)) return std::optional<ShardedFolder>();
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(path, kShardingLimits.max_bytes));
  FATHOM_ASSIGN_OR_RETURN(const Json json, parse_json(text, path, kShardingLimits));
  Members members(json, path);
  if (members.number("version", 0, UINT64_MAX) != kShardingVersion)
    return unsupported("{}: is not of version {}", path, kShardingVersion);
  ShardedFolder folder;
  FATHOM_RETURN_IF_ERROR(parse_numbers(members, folder));
  Members source(members.object("source"), path);
  folder.source_digest = source.text("digest");
  for (const Json& entry : source.list("weights")) {
    FATHOM_ASSIGN_OR_RETURN(ShardedGroup group, parse_group(entry, folder.num_ranks, path));
    folder.groups.push_back(std::move(group));
  }
  FATHOM_RETURN_IF_ERROR(source.status());
  for (const Json& rank : members.list("files")) {
    std::vector<RankFile>& files = folder.files.emplace_back();
    if (!rank.is_array() || rank.empty() || rank.size() > kMaxShards)
      return invalid_data("{}: a rank has no list of 1 to {} files", path, kMaxShards);
    for (const Json& entry : rank) {
      FATHOM_ASSIGN_OR_RETURN(RankFile file, parse_file(entry, path));
      files.push_back(std::move(file));
    }
  }
  if (folder.files.size() != static_cast<size_t>(folder.num_ranks))
    members.fail(fmt::format("\"files\" are not those of {} ranks", folder.num_ranks));
  FATHOM_RETURN_IF_ERROR(members.status());
  folder.checksum = checksum_of(text);
  return std::optional(std::move(folder));
}

std::string write_sharding(const ShardedFolder& folder) {
  Json groups = Json::array();
  for (const ShardedGroup& group : folder.groups) {
    groups.push_back({{"role", group.role},
                      {"dtype", dtype_name(group.dtype)},
                      {"type", description_name(group.type)},
                      {"tensors", static_cast<uint64_t>(group.num_tensors)},
                      {"elements", static_cast<uint64_t>(group.num_elements)},
                      {"bytes", group.bytes},
                      {"rank_bytes", group.rank_bytes}});
  }
  Json ranks = Json::array();
  for (const std::vector<RankFile>& files : folder.files) {
    Json& rank = ranks.emplace_back(Json::array());
    for (const RankFile& file : files) {
      rank.push_back({{"name", file.name},
                      {"bytes", file.bytes},
                      {"header_xxh3", file.header_checksum},
                      {"digest", file.digest}});
    }
  }
  const Json json = {{"format", "fathom sharding"},
                     {"version", kShardingVersion},
                     {"ranks", folder.num_ranks},
                     {"moe_ep", folder.num_expert_groups},
                     {"slices", folder.num_slices},
                     {"width_unit", folder.width_unit},
                     {"source", {{"digest", folder.source_digest}, {"weights", std::move(groups)}}},
                     {"files", std::move(ranks)}};
  return dump_json(json, 1) + "\n";
}

std::string rank_file_name(int64_t rank, int64_t num_ranks, size_t file, size_t num_files) {
  const std::string number = num_files == 1 ? "" : fmt::format("-{:05}-of-{:05}", file + 1, num_files);
  return fmt::format("rank-{:02}-of-{:02}{}.safetensors", rank, num_ranks, number);
}

std::string rank_manifest_name(int64_t rank, int64_t num_ranks) {
  return fmt::format("rank-{:02}-of-{:02}.manifest.json", rank, num_ranks);
}

std::string sharding_text(int64_t num_ranks, int64_t num_expert_groups, int64_t num_slices) {
  return fmt::format("{} rank{}, --moe-ep {}, --slices {}", num_ranks, num_ranks == 1 ? "" : "s",
                     num_expert_groups, num_slices);
}

}  // namespace fathom
