// What is used of NCCL, the library by which GPUs reach each other's memory, as functions: those of
// libnccl.so.2 under the names and with the arguments of its header, or a test's. The library is loaded when
// several ranks want it, so that one program runs with and without it, and is built without its header; the
// few functions taken have been the same since NCCL 2.7.
#pragma once

#include <cstddef>

#include "base/status.h"

namespace fathom {

// ncclUniqueId: names a group that is about to form.
struct NcclId {
  char internal[128] = {};
};

// Each but error_string returns ncclResult_t, 0 for success. comm is ncclComm_t, stream cudaStream_t.
struct Nccl {
  int (*get_version)(int* version) = nullptr;
  int (*get_unique_id)(NcclId* id) = nullptr;
  // On the calling thread's current device; returns when all have called it.
  int (*comm_init_rank)(void** comm, int num_ranks, NcclId id, int rank) = nullptr;
  int (*comm_destroy)(void* comm) = nullptr;
  int (*comm_abort)(void* comm) = nullptr;  // ends what is under way on the device, and the comm
  int (*comm_get_async_error)(void* comm, int* error) = nullptr;
  // Sends and receives between the two take place at once.
  int (*group_start)() = nullptr;
  int (*group_end)() = nullptr;
  int (*send)(const void* data, size_t count, int type, int peer, void* comm, void* stream) = nullptr;
  int (*recv)(void* data, size_t count, int type, int peer, void* comm, void* stream) = nullptr;
  const char* (*get_error_string)(int result) = nullptr;
};

inline constexpr int kNcclInProgress = 7;  // of ncclResult_t
inline constexpr int kNcclInt8 = 0;        // of ncclDataType_t

// kUnsupported, saying why, where the library is not found.
Result<Nccl> open_nccl();

}  // namespace fathom
