#include "benchmark/read_buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace fathom {
namespace {

constexpr uint64_t kLargePage = uint64_t{2} << 20;
constexpr uint64_t kSmallPage = 4096;

}  // namespace

Result<ReadBuffer> ReadBuffer::reserve(uint64_t bytes) {
  ReadBuffer buffer;
  buffer.bytes_ = bytes;
  buffer.mapped_bytes_ = bytes + kLargePage;
  void* mapping = ::mmap(nullptr, buffer.mapped_bytes_, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    return resource_exhausted("read probe: cannot map {} bytes: {}", buffer.mapped_bytes_,
                              std::strerror(errno));
  }
  buffer.mapping_ = static_cast<std::byte*>(mapping);
  const uint64_t past = reinterpret_cast<uintptr_t>(mapping) % kLargePage;
  buffer.data_ = buffer.mapping_ + (past == 0 ? 0 : kLargePage - past);
  // Where the system has no large pages to give, small ones do, at a lower figure.
  (void)::madvise(buffer.data_, bytes, MADV_HUGEPAGE);
  return buffer;
}

ReadBuffer::~ReadBuffer() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapped_bytes_);
}

ReadBuffer::ReadBuffer(ReadBuffer&& other) noexcept { *this = std::move(other); }

ReadBuffer& ReadBuffer::operator=(ReadBuffer&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(data_, other.data_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

// A page that was never written would read as the one shared page of zeros, from the cache.
void ReadBuffer::touch() {
  for (uint64_t at = 0; at < bytes_; at += kSmallPage) data_[at] = std::byte{1};
}

}  // namespace fathom
