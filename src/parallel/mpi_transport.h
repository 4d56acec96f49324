// Ranks started by mpirun. Open MPI is linked by a module of its own (mpi_module.cc), loaded when this is
// called and not before, so that a single process runs where MPI is not installed.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "parallel/transport.h"

namespace fathom {

// Joins the group that mpirun started; once in a process, before its other threads are started. module_path:
// the module's file; empty: libfathom_mpi.so beside this program, or in ../lib/fathom from there.
// Failure: the module or MPI is not there, or MPI refuses.
Result<std::unique_ptr<Transport>> open_mpi_transport(const std::string& module_path = "");

// What the module exports under the name kOpenMpiSymbol. The caller owns the transport; null: *error says
// why.
using OpenMpi = Transport* (*)(std::string* error);
inline constexpr const char* kOpenMpiSymbol = "fathom_open_mpi";

}  // namespace fathom
