// Writes a two-dimensional float32 array as a NumPy .npy file, row by row, under its final name only when
// complete.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/file.h"

namespace fathom {

class NpyWriter {
 public:
  static Result<std::unique_ptr<NpyWriter>> create(const std::string& path, int64_t rows, int64_t cols);

  // Whole rows, in order.
  Status append(std::span<const float> values);
  // Fails unless exactly rows x cols values came.
  Status commit();

 private:
  NpyWriter(std::unique_ptr<FileWriter> file, uint64_t expected_bytes)
      : file_(std::move(file)), expected_bytes_(expected_bytes) {}
  std::unique_ptr<FileWriter> file_;
  uint64_t expected_bytes_;
};

}  // namespace fathom
