// Writes one safetensors file piece by piece: every tensor is declared first, then the data follows in any
// order. The file appears under its name only when it is complete.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "tensor/view.h"

namespace fathom {

struct TensorDeclaration {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;

  uint64_t num_bytes() const { return static_cast<uint64_t>(shape.num_elements()) * dtype_bytes(dtype); }
};

// One thread. Without commit() nothing stays behind.
class SafetensorsWriter {
 public:
  // The header is padded with spaces so that the data begins at a multiple of 64 bytes. Refused: a name
  // twice, and an order that leaves a tensor unaligned to its element size (declare the larger element types
  // first). belongs_to is a note for the header's metadata, of letters and digits; empty: none.
  static Result<std::unique_ptr<SafetensorsWriter>> create(const std::string& path,
                                                           std::span<const TensorDeclaration> tensors,
                                                           std::string_view belongs_to = {});

  // The file's bytes in front of the data.
  const std::string& header() const { return header_; }
  // The size the finished file will have.
  static uint64_t file_bytes(std::span<const TensorDeclaration> tensors, std::string_view belongs_to = {});

  // Bytes of the declared tensor number tensor_index, from byte offset of its data on; every byte of the file
  // is written once. Precondition: within the tensor.
  Status write(size_t tensor_index, uint64_t offset, std::span<const std::byte> bytes);
  // Precondition: all of the data has been written.
  Status commit();

 private:
  // [begin, end) bytes of the file, per declared tensor.
  struct Extent {
    uint64_t begin;
    uint64_t end;
  };
  SafetensorsWriter(std::unique_ptr<FileWriter> file, std::string header, std::vector<Extent> extents)
      : file_(std::move(file)), header_(std::move(header)), extents_(std::move(extents)) {}
  std::unique_ptr<FileWriter> file_;
  std::string header_;
  std::vector<Extent> extents_;
  uint64_t written_ = 0;  // bytes of data
};

}  // namespace fathom
