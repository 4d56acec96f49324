// Writes one safetensors file as a stream: every tensor is declared first, then the data follows in that
// order. The file appears under its name only when it is complete.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "tensor/view.h"

namespace fathom {

struct TensorDeclaration {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
};

// One thread. Without commit() nothing stays behind.
class SafetensorsWriter {
 public:
  // The header is padded with spaces so that the data begins at a multiple of 64 bytes. Refused: a name
  // twice, and an order that leaves a tensor unaligned to its element size (declare the larger element types
  // first).
  static Result<std::unique_ptr<SafetensorsWriter>> create(const std::string& path,
                                                           std::span<const TensorDeclaration> tensors);

  // The size the finished file will have.
  static uint64_t file_bytes(std::span<const TensorDeclaration> tensors);

  // The next bytes of the data, in pieces of any size. Precondition: not more than was declared.
  Status append(std::span<const std::byte> bytes);
  // Precondition: all of the data has been appended.
  Status commit();

 private:
  SafetensorsWriter(std::unique_ptr<FileWriter> file, uint64_t data_bytes)
      : file_(std::move(file)), data_bytes_(data_bytes) {}
  std::unique_ptr<FileWriter> file_;
  uint64_t data_bytes_;
  uint64_t appended_ = 0;
};

}  // namespace fathom
