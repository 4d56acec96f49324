// A tensor in somebody else's memory: pointer, element type and shape; row-major, contiguous.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/check.h"
#include "tensor/dtype.h"

namespace fathom {

// At most 4 dimensions: the family has no tensor of more than 2.
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dimensions)
      : Shape(std::span(dimensions.begin(), dimensions.size())) {}
  explicit Shape(std::span<const int64_t> dimensions) : rank_(static_cast<int>(dimensions.size())) {
    FATHOM_CHECK(rank_ <= kMaxRank, "rank {}", rank_);
    for (int i = 0; i < rank_; ++i) dimensions_[static_cast<size_t>(i)] = dimensions[static_cast<size_t>(i)];
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dimensions_[static_cast<size_t>(i)]; }
  std::span<const int64_t> dimensions() const { return {dimensions_.data(), static_cast<size_t>(rank_)}; }
  int64_t num_elements() const {
    int64_t product = 1;
    for (int64_t dimension : dimensions()) product *= dimension;
    return product;
  }
  bool operator==(const Shape& other) const = default;

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> dimensions_ = {};
};

// "[64, 2048]"
std::string to_string(const Shape& shape);

struct TensorView {
  const void* data = nullptr;  // not owned; aligned to the element size
  DType dtype = DType::kFloat32;
  Shape shape;

  size_t num_bytes() const { return static_cast<size_t>(shape.num_elements()) * dtype_bytes(dtype); }
};

}  // namespace fathom
