// Products of matrices by cuBLAS, where the system has it: a yardstick, no part of any model's computation.
// It is loaded when asked for, so that programs need neither it nor its headers.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"

namespace fathom {

class Cublas {
 public:
  // For a stream of the CUDA runtime. kUnsupported where there is no library, or none for this device.
  static Result<std::unique_ptr<Cublas>> load(void* stream);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  // c = a^T b for square matrices of the device, column-major, `size` a multiple of 16. Nothing waits.
  Status multiply_bf16(const void* a, const void* b, void* c, int64_t size) const;  // c: bf16, sums float32
  Status multiply_int8(const void* a, const void* b, void* c, int64_t size) const;  // c: int32

 private:
  struct Entries;
  Cublas() = default;

  std::unique_ptr<const Entries> entries_;
  void* handle_ = nullptr;
};

}  // namespace fathom
