#include "checkpoint/output_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/checksum.h"
#include "base/file.h"
#include "base/log.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecords = ".records";
constexpr const char* kIdentity = "run";
constexpr JsonLimits kRecordLimits = {.max_bytes = size_t{256} << 20, .max_depth = 16};

bool is_inside(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

bool is_of_kind(const std::string& folder, const OutputKind& kind) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(kind.mark) && name.ends_with(".json")) return true;
  }
  return false;
}

bool is_empty_folder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error) && fs::is_empty(path, error);
}

Status remove_all(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? io_error("{}: cannot remove: {}", path, error.message()) : ok_status();
}

uint64_t folder_bytes(const std::string& path) {
  uint64_t sum = 0;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::error_code no_size;
    const uintmax_t size = it->file_size(no_size);
    if (!no_size) sum += size;
  }
  return sum;
}

Json file_identity(const std::string& path) {
  std::error_code error;
  return Json::array({fs::path(path).filename().string(), fs::file_size(path, error),
                      fs::last_write_time(path, error).time_since_epoch().count()});
}

}  // namespace

Result<OutputPaths> check_destination(const std::string& source, const std::string& destination,
                                      OutputKind kind, ExistingModel existing) {
  std::error_code error;
  const fs::path from = fs::canonical(source, error);
  if (error) return not_found("{}: {}", source, error.message());
  fs::path to = fs::weakly_canonical(fs::absolute(destination, error), error);
  if (error) return io_error("{}: {}", destination, error.message());
  if (!to.has_filename()) to = to.parent_path();
  const OutputPaths paths{to.string(), to.string() + ".partial", kind};
  for (const fs::path& path : {to, fs::path(paths.partial)}) {
    if (is_inside(path, from) || is_inside(from, path)) {
      return invalid_argument("{}: is the source {}, inside it or around it: choose a folder beside it",
                              path.string(), from.string());
    }
  }
  if (!path_exists(paths.destination) || is_empty_folder(paths.destination)) return paths;
  if (!directory_exists(paths.destination))
    return invalid_argument("{}: is there and not a folder", destination);
  if (existing == ExistingModel::kRefuse) {
    return invalid_argument("{}: folder is not empty: choose another, or replace its {} with --force",
                            destination, kind.name);
  }
  if (!is_of_kind(paths.destination, kind)) {
    return invalid_argument("{}: --force replaces folders with a {} only, this has no {}", destination,
                            kind.name, kind.mark);
  }
  return paths;
}

Status check_room(const OutputPaths& paths, uint64_t needed_bytes) {
  return check_disk_space(paths.destination,
                          needed_bytes - std::min(needed_bytes, folder_bytes(paths.partial)));
}

Json source_identity(const Checkpoint& checkpoint, const Json& config_json,
                     std::span<const std::string> other_files) {
  Json files = Json::array();
  for (const auto& file : checkpoint.files()) {
    files.push_back(file_identity(file->path()));
    files.back().push_back(file->header_checksum());
  }
  for (const std::string& name : other_files)
    files.push_back(file_identity(join_path(checkpoint.directory(), name)));
  std::error_code error;
  return {{"folder", fs::canonical(checkpoint.directory(), error).string()},
          {"config", checksum_of(dump_json(config_json))},
          {"files", std::move(files)}};
}

Result<std::unique_ptr<OutputFolder>> OutputFolder::open(const OutputPaths& paths, ExistingModel existing,
                                                         const RunIdentity& identity) {
  FATHOM_RETURN_IF_ERROR(make_directories(paths.partial));
  const int descriptor = ::open(paths.partial.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return io_error("{}: cannot open: {}", paths.partial, std::strerror(errno));
  std::unique_ptr<OutputFolder> folder(new OutputFolder(paths, descriptor));
  FATHOM_RETURN_IF_ERROR(folder->lock());
  FATHOM_RETURN_IF_ERROR(folder->take_over(existing, identity));
  return folder;
}

OutputFolder::~OutputFolder() { ::close(descriptor_); }

std::string OutputFolder::file(const std::string& name) const { return join_path(paths_.partial, name); }

Status OutputFolder::lock() const {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return io_error("{}: cannot lock: {}", path(), std::strerror(errno));
    return invalid_argument("{}: another run writes into this folder: wait for it", path());
  }
  // The run that held the lock until now may have given the folder its final name.
  struct stat locked {};
  struct stat named {};
  const bool same = ::fstat(descriptor_, &locked) == 0 && ::stat(path().c_str(), &named) == 0 &&
                    locked.st_ino == named.st_ino && locked.st_dev == named.st_dev;
  if (!same) return invalid_argument("{}: another run has just finished here", paths_.destination);
  return ok_status();
}

Status OutputFolder::take_over(ExistingModel existing, const RunIdentity& identity) const {
  const bool has_records = directory_exists(file(kRecords));
  // A run that was stopped at its very end has left a manifest, or the model that it replaced.
  const bool is_ours = has_records || is_empty_folder(path()) || path_exists(file(kManifestName)) ||
                       (existing == ExistingModel::kReplace && is_of_kind(path(), paths_.kind));
  if (!is_ours) {
    return invalid_argument("{}: is in the way and not what an interrupted run leaves: move it away", path());
  }
  const Json wanted = {{"options", identity.options}, {"source", identity.source}};
  const std::optional<Json> found = record(kIdentity);
  if (found && *found == wanted) return ok_status();
  if (found && found->is_object()) {
    log_warning("{}: of an interrupted run {}: starting anew", path(),
                found->value("options", Json()) != identity.options ? "with other options"
                                                                    : "with a source that has changed since");
  }
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path(), error))
    FATHOM_RETURN_IF_ERROR(remove_all(entry.path().string()));
  FATHOM_RETURN_IF_ERROR(make_directories(file(kRecords)));
  return save_record(kIdentity, wanted);
}

std::optional<Json> OutputFolder::record(const std::string& name) const {
  auto json = read_json_file(join_path(file(kRecords), name + ".json"), kRecordLimits);
  return json.ok() ? std::optional<Json>(std::move(json).value()) : std::nullopt;
}

Status OutputFolder::save_record(const std::string& name, const Json& record) const {
  return write_file(join_path(file(kRecords), name + ".json"), dump_json(record));
}

std::optional<ManifestFile> OutputFolder::recorded_file(const Json& record, const std::string& name) const {
  auto entry = manifest_file_from_json(record, path());
  std::error_code error;
  if (!entry.ok() || entry->name != name || fs::file_size(file(name), error) != entry->bytes)
    return std::nullopt;
  return std::move(entry).value();
}

Status OutputFolder::with_advice(const Status& status) const {
  if (status.code() != ErrorCode::kIoError) return status;
  return io_error("{}; what is whole is kept in {}, where the same command goes on", status.message(),
                  path());
}

Status OutputFolder::keep_only(const std::vector<std::string>& names) const {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path(), error)) {
    const std::string name = entry.path().filename().string();
    if (name == kRecords || std::find(names.begin(), names.end(), name) != names.end()) continue;
    FATHOM_RETURN_IF_ERROR(remove_all(entry.path().string()));
  }
  return error ? io_error("{}: cannot list: {}", path(), error.message()) : ok_status();
}

Status OutputFolder::publish() {
  FATHOM_RETURN_IF_ERROR(remove_all(file(kRecords)));
  sync_directory(path());
  const std::string parent = fs::path(paths_.destination).parent_path().string();
  const bool replaces = path_exists(paths_.destination) && !is_empty_folder(paths_.destination);
  if (replaces) {
    // Both names change in one step: there is always a whole model under the final one.
    if (::renameat2(AT_FDCWD, path().c_str(), AT_FDCWD, paths_.destination.c_str(), RENAME_EXCHANGE) != 0) {
      return io_error("{}: cannot exchange it with {}: {}", paths_.destination, path(), std::strerror(errno));
    }
    sync_directory(parent);
    return remove_all(path());
  }
  if (::rename(path().c_str(), paths_.destination.c_str()) != 0)
    return io_error("{}: cannot rename {} to it: {}", paths_.destination, path(), std::strerror(errno));
  sync_directory(parent);
  return ok_status();
}

}  // namespace fathom
