// Scratch memory that grows and is reused: 64-byte aligned, contents lost when it grows.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace fathom {

class AlignedBuffer {
 public:
  // At least bytes.
  void reserve(size_t bytes) {
    if (bytes <= bytes_) return;
    data_.reset();
    bytes_ = 0;
    data_.reset(static_cast<std::byte*>(::operator new (bytes, std::align_val_t{64})));
    bytes_ = bytes;
  }
  std::byte* data() const { return data_.get(); }
  float* floats() const { return reinterpret_cast<float*>(data_.get()); }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_ = 0;
};

}  // namespace fathom
