// How fast ranks talk: each collective over sizes, beside what the MPI library takes for its own sum and how
// fast memory is copied. The measurement, without any judgement.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"
#include "parallel/transport.h"

namespace fathom {

struct CommOptions {
  std::vector<int64_t> sizes = {};  // bytes, each a multiple of 4 and at least 4
  double seconds = 0.2;             // of each measurement
};

struct CallTimes {
  double median = 0;  // seconds
  double best = 0;
  double slow = 0;  // nine in ten are faster
  int num_calls = 0;
};

struct CommFigure {
  std::string operation;  // "barrier", "broadcast", "all-reduce"
  int64_t bytes = 0;
  CallTimes times = {};
  std::optional<CallTimes> library = {};  // of MPI_Allreduce, for all-reduce
};

struct CommReport {
  double copy_bytes_per_second = 0;  // of one rank, all ranks copying at once
  std::vector<CommFigure> figures;
};

// All ranks call it together; the times are those of the calling rank. transport: of the communicator.
Result<CommReport> measure_communication(Communicator& communicator, Transport& transport,
                                         const CommOptions& options);

}  // namespace fathom
