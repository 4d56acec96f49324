#include "cli/npy_writer.h"

#include "base/check.h"

namespace fathom {

Result<std::unique_ptr<NpyWriter>> NpyWriter::create(const std::string& path, int64_t rows, int64_t cols) {
  // Format 1.0: magic, version, header length (2 bytes), a Python dict padded so that the data starts at a
  // multiple of 64.
  constexpr size_t kPrefix = 10;
  std::string dict =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, cols);
  dict.append(63 - (kPrefix + dict.size()) % 64, ' ');
  dict.push_back('\n');
  std::string header("\x93NUMPY\x01\x00", 8);
  header.push_back(static_cast<char>(dict.size() & 0xff));
  header.push_back(static_cast<char>(dict.size() >> 8));
  header += dict;
  FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<FileWriter> file, FileWriter::create(path));
  FATHOM_RETURN_IF_ERROR(file->write(header));
  const uint64_t bytes = header.size() + static_cast<uint64_t>(rows * cols) * sizeof(float);
  return std::unique_ptr<NpyWriter>(new NpyWriter(std::move(file), bytes));
}

Status NpyWriter::append(std::span<const float> values) { return file_->write(std::as_bytes(values)); }

Status NpyWriter::commit() {
  FATHOM_CHECK(file_->size() == expected_bytes_, "{} bytes of {}", file_->size(), expected_bytes_);
  return file_->commit();
}

}  // namespace fathom
