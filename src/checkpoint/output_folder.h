// DST.partial, where a run writes until its result is whole: a lock against a second run, records of what is
// whole for the next run after an interruption, and the rename to DST as the last act.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"

namespace fathom {

enum class ExistingModel {
  kRefuse,   // unless the folder is empty
  kReplace,  // a folder of the kind that the run makes, at the very end
};

// What a run makes a folder of: "quantised model" in messages, told by a file of that name's beginning that
// ends in .json.
struct OutputKind {
  const char* name;
  const char* mark;
};

struct OutputPaths {
  std::string destination;  // absolute, without links
  std::string partial;
  OutputKind kind;
};

// Refused: a destination that is the source, in it or around it; one that exists and may not be replaced.
Result<OutputPaths> check_destination(const std::string& source, const std::string& destination,
                                      OutputKind kind, ExistingModel existing);

// Whether the disk has room for a folder of so many bytes. What an interrupted run has written lies there
// already.
Status check_room(const OutputPaths& paths, uint64_t needed_bytes);

// What must be the same for a run to go on where another was interrupted.
struct RunIdentity {
  Json options;
  Json source;
};

// The source's folder, config, files of weights (size, time, header) and those other files (size, time).
Json source_identity(const Checkpoint& checkpoint, const Json& config_json,
                     std::span<const std::string> other_files);

class OutputFolder {
 public:
  // Makes the folder or takes over that of an interrupted run: with its records if the identity is the same,
  // else emptied, and a warning says why. Refused: a folder that another run writes in, and one that no run
  // has left behind.
  static Result<std::unique_ptr<OutputFolder>> open(const OutputPaths& paths, ExistingModel existing,
                                                    const RunIdentity& identity);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::string& path() const { return paths_.partial; }
  std::string file(const std::string& name) const;

  // What save_record() has put down under the name, which is lasting when it returns. nullopt: nothing of
  // use.
  std::optional<Json> record(const std::string& name) const;
  Status save_record(const std::string& name, const Json& record) const;
  // What a record says of a file of weights, where it is of that name and size; else nullopt.
  std::optional<ManifestFile> recorded_file(const Json& record, const std::string& name) const;
  // Removes every other file: what an interrupted run has left half done.
  Status keep_only(const std::vector<std::string>& names) const;

  // The status of writing, told where the run can go on.
  Status with_advice(const Status& status) const;

  // Gives the folder its final name. Precondition: every file is on disk.
  Status publish();

 private:
  OutputFolder(OutputPaths paths, int descriptor) : paths_(std::move(paths)), descriptor_(descriptor) {}
  Status lock() const;
  Status take_over(ExistingModel existing, const RunIdentity& identity) const;

  OutputPaths paths_;
  int descriptor_;  // of the folder, with the lock
};

}  // namespace fathom
