// Reads parts of a file past the system's cache: for data that is read once and is large beside the memory.
// Cached, every page of it would be allocated, mapped and thrown out again, which costs more than packing it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace fathom {

// Any thread may read.
class DirectFile {
 public:
  // A regular file. Where its file system knows no such reads, they go through the cache after all.
  static Result<std::unique_ptr<DirectFile>> open(const std::string& path);
  ~DirectFile();
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;

  // Alignment of the buffer of a read, and how many bytes of it a read of `size` bytes may write.
  static constexpr size_t kAlignment = 4096;
  static constexpr size_t buffer_bytes(size_t size) {
    return (size + 2 * kAlignment - 1) / kAlignment * kAlignment;
  }

  // Reads bytes [offset, offset + size); they begin in the buffer where the result points, at an address that
  // is offset modulo kAlignment. Refused: a file that ends before.
  Result<const std::byte*> read(uint64_t offset, size_t size, std::byte* buffer) const;

 private:
  DirectFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::string path_;
  int descriptor_;
};

}  // namespace fathom
