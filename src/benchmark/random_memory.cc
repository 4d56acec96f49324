#include "benchmark/random_memory.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/random.h"

namespace fathom {
namespace {

constexpr int64_t kWord = 8;

// A random word keeps its signs and fractions and gets an exponent of 2^-7.
struct Pattern {
  uint64_t keep;
  uint64_t set;
};

Pattern pattern_of(DType dtype) {
  switch (dtype) {
    case DType::kBFloat16:
      return {0x807f807f807f807f, 0x3c003c003c003c00};
    case DType::kFloat16:
      return {0x83ff83ff83ff83ff, 0x2000200020002000};
    case DType::kFloat32:
      return {0x807fffff807fffff, 0x3c0000003c000000};
    case DType::kUint8:
      return {0x0f0f0f0f0f0f0f0f, 0};
    default:
      return {~uint64_t{0}, 0};
  }
}

}  // namespace

void fill_random(std::byte* data, int64_t bytes, DType dtype, uint64_t first_word) {
  const Pattern pattern = pattern_of(dtype);
  for (int64_t at = 0; at < bytes; at += kWord) {
    const uint64_t word = (mix_bits(first_word++) & pattern.keep) | pattern.set;
    std::memcpy(data + at, &word, kWord);
  }
}

void fill_latent_rows(const kernels::LatentCacheView& cache, std::byte* row, IndexRange rows) {
  const int64_t row_bytes = kernels::latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim);
  const int64_t size = round_up(row_bytes, kWord);
  const auto rope_bytes = static_cast<size_t>(2 * cache.rope_dim);
  const float scale = 1.0f / 127;
  std::vector<std::byte> values(static_cast<size_t>(size));
  for (int64_t index = rows.begin; index < rows.end; ++index, row += row_bytes) {
    const auto first_word = static_cast<uint64_t>(index * size);
    fill_random(values.data(), size, cache.dtype, first_word);
    std::memcpy(row, values.data(), static_cast<size_t>(row_bytes));
    if (cache.dtype != DType::kInt8) continue;
    fill_random(values.data(), size, cache.rope_dtype, first_word);
    std::memcpy(row + cache.latent_dim, values.data(), rope_bytes);
    std::memcpy(row + cache.latent_dim + 2 * cache.rope_dim, &scale, sizeof(scale));
  }
}

AlignedBuffer random_floats(int64_t count) {
  const int64_t bytes = round_up(count * static_cast<int64_t>(sizeof(float)), kWord);
  AlignedBuffer buffer;
  buffer.reserve(static_cast<size_t>(bytes));
  fill_random(buffer.data(), bytes, DType::kFloat32);
  return buffer;
}

WeightPool::WeightPool(TimedTeam& team)
    : team_(team), seats_(node_seats(team.team())), arena_(team.team().num_nodes()) {}

Status WeightPool::reserve(uint64_t bytes) {
  const int num_nodes = team_.team().num_nodes();
  node_bytes_ = bytes / static_cast<uint64_t>(num_nodes) / kernels::kLineBytes * kernels::kLineBytes;
  for (int node = 0; node < num_nodes; ++node) {
    FATHOM_ASSIGN_OR_RETURN(std::byte * data, arena_.allocate(node, node_bytes_));
    node_data_.push_back(data);
  }
  return ok_status();
}

void WeightPool::fill(DType format) {
  team_.time([&](int thread) {
    const NodeSeat& seat = seats_[static_cast<size_t>(thread)];
    const IndexRange share =
        static_share(static_cast<int64_t>(node_bytes_), kernels::kLineBytes, seat.index, seat.num_threads);
    fill_random(node_data_[static_cast<size_t>(seat.node)] + share.begin, share.size(), format,
                static_cast<uint64_t>(share.begin));
  });
  team_.leave();
}

PackedCopies WeightPool::cut(int64_t num_panels, int64_t step, int64_t panel_bytes) const {
  PackedCopies copies{.num_copies = INT64_MAX, .panel_bytes = panel_bytes};
  const int num_nodes = team_.team().num_nodes();
  for (int node = 0; node < num_nodes; ++node) {
    const IndexRange panels = node_panels(num_panels, step, node, num_nodes);
    const int64_t bytes = panels.size() * panel_bytes;
    copies.nodes.push_back({node_data_[static_cast<size_t>(node)], panels, bytes});
    if (bytes > 0) copies.num_copies = std::min(copies.num_copies, static_cast<int64_t>(node_bytes_) / bytes);
  }
  FATHOM_CHECK(copies.num_copies >= 1, "{} panels of {} bytes in {}", num_panels, panel_bytes, node_bytes_);
  return copies;
}

}  // namespace fathom
