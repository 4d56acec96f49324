// How long work says how far it is. The one who shows it (a bar on a terminal, a log line) lives in cli.
#pragma once

#include <cstdint>
#include <string_view>

namespace fathom {

// Thread rule: calls come from one thread at a time.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  // done of total units (bytes for loading and writing) of the named piece of work.
  virtual void report(std::string_view what, uint64_t done, uint64_t total) = 0;
};

}  // namespace fathom
