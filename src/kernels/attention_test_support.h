// Shared by the attention tests: a paged cache and scratch in poisoned memory.
#pragma once

#include <algorithm>

#include "kernels/test_support.h"

namespace fathom::kernels {

struct CacheKind {
  DType dtype;
  DType rope_dtype;
};
inline constexpr CacheKind kCacheKinds[] = {{DType::kFloat32, DType::kFloat32},
                                            {DType::kBFloat16, DType::kBFloat16},
                                            {DType::kFloat16, DType::kFloat16},
                                            {DType::kInt8, DType::kBFloat16},
                                            {DType::kInt8, DType::kFloat16}};

inline bool takes_bf16_products(const CacheKind& kind) {
  return kind.dtype == DType::kBFloat16 || kind.dtype == DType::kInt8;
}

// kRandom      floats of magnitude up to 1
// kEighths     multiples of 1/8 among them (int8: a scale of 1/8): every sum of products of up to 2^18 of
// them
//              is exact in float32, so that it is the same in any order
enum class Data : uint8_t { kRandom, kEighths };

inline float next_value(Values& values, Data data) {
  const float value = values.next();
  return data == Data::kRandom ? value : std::nearbyint(value * 8) / 8;
}

// cos and sin of the angles of some positions, and where each token stands.
struct Rotation {
  Rotation(Values& values, int64_t num_tokens, int64_t rope_dim) {
    constexpr int64_t kPositions = 40;
    for (int64_t i = 0; i < kPositions * rope_dim / 2; ++i) {
      const double angle = values.next() * 3;
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(std::sin(angle)));
    }
    for (int64_t t = 0; t < num_tokens; ++t)
      positions.push_back(static_cast<int32_t>(values.below(kPositions)));
  }
  std::vector<float> cosines, sines;
  std::vector<int32_t> positions;
};

// A cache of one sequence with pages in descending order; rows that hold no position are NaN in every part.
struct CacheFixture {
  CacheFixture(Values& values, Data data, CacheKind kind, int64_t latent_dim, int64_t rope_dim,
               int64_t num_keys, int64_t block_size)
      : keys(num_keys), row_bytes(latent_row_bytes(kind.dtype, latent_dim, rope_dim)) {
    const int64_t pages = (num_keys + block_size - 1) / block_size;
    for (int64_t i = 0; i < pages; ++i) page_table.push_back(static_cast<int32_t>(pages - i));
    // 0xff is NaN in every floating dtype, and in an int8 row's scale.
    bytes.assign(static_cast<size_t>((pages + 1) * block_size * row_bytes), 0xff);
    view = {.data = bytes.data(),
            .dtype = kind.dtype,
            .rope_dtype = kind.rope_dtype,
            .latent_dim = latent_dim,
            .rope_dim = rope_dim,
            .block_size = block_size};
    std::vector<float> row(static_cast<size_t>(latent_dim + rope_dim));
    for (int64_t s = 0; s < num_keys; ++s) {
      for (float& value : row) value = next_value(values, data);
      ref::store_cached(view, ref::cache_row(view, page_table.data(), s), row.data());
      if (data == Data::kEighths && kind.dtype == DType::kInt8) store_eighths(s, row);
    }
  }
  void poison_from(int64_t first) {
    for (int64_t s = first; s < keys; ++s) std::memset(row_of(s), 0xff, static_cast<size_t>(row_bytes));
  }

  int64_t keys, row_bytes;
  std::vector<int32_t> page_table;
  std::vector<uint8_t> bytes;
  LatentCacheView view;

 private:
  uint8_t* row_of(int64_t s) { return bytes.data() + ref::cache_row(view, page_table.data(), s) * row_bytes; }
  void store_eighths(int64_t s, const std::vector<float>& row) {
    uint8_t* out = row_of(s);
    const float scale = 0.125f;
    for (int64_t i = 0; i < view.latent_dim; ++i) {
      out[i] = static_cast<uint8_t>(static_cast<int8_t>(row[static_cast<size_t>(i)] * 8));
    }
    std::memcpy(out + view.latent_dim + 2 * view.rope_dim, &scale, sizeof(scale));
  }
};

// Scratch of exactly `bytes` bytes on a 64-byte boundary, NaN at first, between guards.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) : size_(static_cast<size_t>(bytes)) {
    buffer_.assign(size_ + 64 + kGuard, 0xff);
    void* p = buffer_.data();
    size_t space = buffer_.size();
    data_ = static_cast<uint8_t*>(std::align(64, size_ + kGuard, p, space));
  }
  void* data() { return data_; }
  bool guard_is_whole() const {
    return std::all_of(data_ + size_, data_ + size_ + kGuard, [](uint8_t byte) { return byte == 0xff; });
  }

 private:
  static constexpr size_t kGuard = 256;
  size_t size_;
  std::vector<uint8_t> buffer_;
  uint8_t* data_;
};

inline std::vector<AttentionPrecision> precisions(const KernelTable& table, const CacheKind& kind) {
  if (table.has_bf16_products && takes_bf16_products(kind)) {
    return {AttentionPrecision::kFloat32, AttentionPrecision::kBFloat16};
  }
  return {AttentionPrecision::kFloat32};
}

inline std::string describe(const NamedTable& named, const CacheKind& kind, AttentionPrecision precision) {
  return named.name + " cache " + std::string(dtype_name(kind.dtype)) + "/" +
         std::string(dtype_name(kind.rope_dtype)) +
         (precision == AttentionPrecision::kBFloat16 ? " bf16" : " fp32");
}

}  // namespace fathom::kernels
