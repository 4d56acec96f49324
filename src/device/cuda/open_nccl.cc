#include "device/cuda/nccl.h"

#include <dlfcn.h>

namespace fathom {
namespace {

template <typename Function>
void find(void* library, const char* name, Function& function, const char*& missing) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function == nullptr && missing == nullptr) missing = name;
}

}  // namespace

// The library stays loaded to the end of the process.
Result<Nccl> open_nccl() {
  void* library = ::dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return unsupported("{}", ::dlerror());
  Nccl nccl;
  const char* missing = nullptr;
  find(library, "ncclGetVersion", nccl.get_version, missing);
  find(library, "ncclGetUniqueId", nccl.get_unique_id, missing);
  find(library, "ncclCommInitRank", nccl.comm_init_rank, missing);
  find(library, "ncclCommDestroy", nccl.comm_destroy, missing);
  find(library, "ncclCommAbort", nccl.comm_abort, missing);
  find(library, "ncclCommGetAsyncError", nccl.comm_get_async_error, missing);
  find(library, "ncclGroupStart", nccl.group_start, missing);
  find(library, "ncclGroupEnd", nccl.group_end, missing);
  find(library, "ncclSend", nccl.send, missing);
  find(library, "ncclRecv", nccl.recv, missing);
  find(library, "ncclGetErrorString", nccl.get_error_string, missing);
  if (missing != nullptr) return unsupported("libnccl.so.2 has no {}", missing);
  return nccl;
}

}  // namespace fathom
