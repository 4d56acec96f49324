// `fathom verify`: whether a model folder's files are what they should be, byte by byte where a manifest says
// so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/status.h"

namespace fathom {

struct Damage {
  std::string file;    // name in the folder; "": of the folder as a whole
  std::string tensor;  // "": the file as a whole, its header, or no file of weights
  std::string what;
};

struct VerifyResult {
  bool has_checksums = false;  // false: no manifest; sizes and headers alone were looked at
  uint64_t num_files = 0;      // looked at
  uint64_t num_tensors = 0;
  uint64_t num_bytes = 0;
  std::vector<Damage> damages;  // by file, in the order of its data
};

struct VerifyOptions {
  std::string directory;
  // Of a sharded folder (checkpoint/sharded_folder.h): those whose files are looked at; empty: all.
  std::vector<int64_t> ranks;
  int num_threads = 1;
};

// Compares every file with the manifest, several at a time; looks for files of weights that it does not name;
// and opens the folder as a model, a sharded one as each rank does. An error only where the folder itself
// cannot be read, or has no such ranks. progress may be null.
Result<VerifyResult> verify_model(const VerifyOptions& options, ProgressSink* progress);

}  // namespace fathom
