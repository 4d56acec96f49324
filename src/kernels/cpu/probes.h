// What the probes of the instruction-set folders take: plain data, so that those files may include it.
// A probe finds out how fast the machine can go at best; it computes nothing that anybody wants.
#pragma once

#include <stdint.h>

namespace fathom::kernels {

// Reads every byte of [data, data + bytes) once, as num_streams sequential streams side by side: stream s is
// the s-th of num_streams equal parts.
struct ReadParams {
  const void* data = nullptr;  // aligned to 64 bytes
  int64_t bytes = 0;           // a multiple of num_streams * kReadStepBytes
  int num_streams = 1;         // 1, 2 or 4
  // Whether prefetch instructions bring each stream into the second-level cache kFetchAhead bytes before it
  // is read. Some processors keep more of memory's lines under way like that than loads alone can.
  bool fetches_ahead = false;
};

// What a stream reads in one turn of the loop: four of the widest registers.
inline constexpr int64_t kReadStepBytes = 256;
inline constexpr int64_t kFetchAhead = 8192;

}  // namespace fathom::kernels
