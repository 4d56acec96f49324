// DST.partial, where a run writes until its result is whole: a lock against a second run, records of what is
// whole for the next run after an interruption, and the rename to DST as the last act.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace fathom {

enum class ExistingModel {
  kRefuse,   // unless the folder is empty
  kReplace,  // a folder with a quantised model, at the very end
};

struct OutputPaths {
  std::string destination;  // absolute, without links
  std::string partial;
};

// Refused: a destination that is the source, in it or around it; one that exists and may not be replaced.
Result<OutputPaths> check_destination(const std::string& source, const std::string& destination,
                                      ExistingModel existing);

// What must be the same for a run to go on where another was interrupted.
struct RunIdentity {
  Json options;
  Json source;
};

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
  // Removes every other file: what an interrupted run has left half done.
  Status keep_only(const std::vector<std::string>& names) const;

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
