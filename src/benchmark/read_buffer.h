// Memory to be read by the bandwidth probe: anonymous pages, large ones where the system gives them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace fathom {

class ReadBuffer {
 public:
  ReadBuffer() = default;
  // Address space only: a page gets its memory, on the toucher's node, in touch(). Failure: none to be had.
  static Result<ReadBuffer> reserve(uint64_t bytes);
  ~ReadBuffer();
  ReadBuffer(ReadBuffer&& other) noexcept;
  ReadBuffer& operator=(ReadBuffer&& other) noexcept;

  // Writes every page; by the thread that will read them.
  void touch();
  const std::byte* data() const { return data_; }  // aligned to a large page

 private:
  std::byte* mapping_ = nullptr;
  std::byte* data_ = nullptr;
  uint64_t mapped_bytes_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace fathom
