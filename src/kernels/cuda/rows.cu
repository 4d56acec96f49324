// Rows of activations: norm, rounding and quantisation (a block a row), rotation of queries (a thread a
// pair), and the latent cache's rows (a block a row). Sums of squares are float32: a thread takes every
// kThreads-th element, then the tree of block_sum, so that a row's bits depend on its width alone.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/numbers.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

constexpr int kThreads = 256;
constexpr size_t kRoomBytes = kReductionFloats * sizeof(float);

FATHOM_DEVICE float inverse_rms(const float* x, int64_t width, float eps, SharedArray<float> room) {
  float sum = 0;
  for (int64_t i = thread_index(); i < width; i += kThreads) sum += x[i] * x[i];
  sum = block_sum(sum, room);
  return 1.0f / square_root(sum / static_cast<float>(width) + eps);
}

// What prepare makes of one row before it is written.
struct RowValues {
  const float* x;
  const float* norm_weight;
  float scale;
  ActivationRounding rounding;
  FATHOM_DEVICE float operator[](int64_t i) const {
    return round_activation(norm_weight != nullptr ? x[i] * scale * norm_weight[i] : x[i], rounding);
  }
};

// max|x|; NaN where a value is not finite.
FATHOM_DEVICE float largest_magnitude(const RowValues& row, int64_t width, SharedArray<float> room) {
  float largest = 0, special = 0;
  for (int64_t i = thread_index(); i < width; i += kThreads) {
    const float value = row[i];
    if (!is_finite(value)) special = 1;
    if (magnitude(value) > largest) largest = magnitude(value);
  }
  special = block_max(special, room);
  largest = block_max(largest, room);
  return special > 0 ? bits_to_float(0x7fc00000u) : largest;
}

FATHOM_DEVICE void write_int8(const PreparedRows& out, const RowValues& row, int64_t width, int64_t t,
                              float largest) {
  const float inverse = inverse_scale(largest, kInt8Limit);
  if (thread_index() == 0) out.scales[t] = largest / kInt8Limit;
  auto* bytes = static_cast<int8_t*>(out.data) + t * out.padded;
  for (int64_t i = thread_index(); i < out.padded; i += kThreads)
    bytes[i] = static_cast<int8_t>(i < width && inverse > 0 ? nearest_integer(row[i] * inverse) : 0.0f);
}

FATHOM_DEVICE void write_int8_pair(const PreparedRows& out, const RowValues& row, int64_t width, int64_t t,
                                   float largest) {
  const float inverse = inverse_scale(largest, kInt8PairLimit);
  if (thread_index() == 0) out.scales[t] = largest / kInt8PairLimit;
  auto* high_bytes = static_cast<int8_t*>(out.data) + 2 * t * out.padded;
  auto* low_bytes = high_bytes + out.padded;
  for (int64_t i = thread_index(); i < out.padded; i += kThreads) {
    const float q = i < width && inverse > 0 ? nearest_integer(row[i] * inverse) : 0.0f;
    const float high = nearest_integer(q * (1.0f / kDigitBase));
    high_bytes[i] = static_cast<int8_t>(high);
    low_bytes[i] = static_cast<int8_t>(q - kDigitBase * high);
  }
}

// The largest power of two s with largest / s below 32768, 1 at least; of a row that is not finite 1.
FATHOM_DEVICE float float16_scale(float largest) {
  if (!(largest >= 32768.0f)) return 1.0f;
  return bits_to_float((((float_to_bits(largest) >> 23) - 14) << 23));
}

FATHOM_DEVICE void write_float16(const PreparedRows& out, const RowValues& row, int64_t width, int64_t t,
                                 float largest) {
  const float scale = float16_scale(largest);
  const float inverse = 1.0f / scale;
  if (thread_index() == 0) out.scales[t] = scale;
  auto* values = static_cast<uint16_t*>(out.data) + t * out.padded;
  for (int64_t i = thread_index(); i < out.padded; i += kThreads)
    values[i] = float_to_half(i < width ? row[i] * inverse : 0.0f);
}

FATHOM_KERNEL(kThreads) prepare_kernel(cuda::PrepareBatchParams batch) {
  begin_kernel();
  const PrepareParams& p = batch.rows;
  SharedMemory shared;
  const SharedArray<float> room = shared.take<float>(kReductionFloats);
  const int64_t t = block_x();
  RowValues row{p.x + t * p.x_stride, p.norm_weight, 1.0f, p.rounding};
  if (p.norm_weight != nullptr) row.scale = inverse_rms(row.x, p.width, p.eps, room);
  if (p.float32.data != nullptr) {
    auto* out = static_cast<float*>(p.float32.data) + t * p.float32.padded;
    for (int64_t i = thread_index(); i < p.float32.padded; i += kThreads)
      out[i] = i < p.width ? row[i] : 0.0f;
  }
  if (p.bfloat16.data != nullptr) {
    auto* out = static_cast<uint16_t*>(p.bfloat16.data) + t * p.bfloat16.padded;
    for (int64_t i = thread_index(); i < p.bfloat16.padded; i += kThreads)
      out[i] = i < p.width ? float_to_bf16(row[i]) : uint16_t{0};
  }
  if (p.int8.data == nullptr && p.int8_pair.data == nullptr && batch.float16.data == nullptr) return;
  const float largest = largest_magnitude(row, p.width, room);
  if (p.int8.data != nullptr) write_int8(p.int8, row, p.width, t, largest);
  if (p.int8_pair.data != nullptr) write_int8_pair(p.int8_pair, row, p.width, t, largest);
  if (batch.float16.data != nullptr) write_float16(batch.float16, row, p.width, t, largest);
}

FATHOM_DEVICE float rotated_real(float a, float b, float cosine, float sine) { return a * cosine - b * sine; }
FATHOM_DEVICE float rotated_imaginary(float a, float b, float cosine, float sine) {
  return a * sine + b * cosine;
}

FATHOM_KERNEL(kThreads) rope_query_kernel(RopeQueryParams p) {
  begin_kernel();
  const int64_t half = p.rope_dim / 2;
  const int64_t pair = block_x() * kThreads + thread_index();
  if (pair >= p.end * p.num_heads * half) return;
  const int64_t j = pair % half;
  const int64_t head = pair / half;  // of all tokens
  const int64_t angle = p.positions[head / p.num_heads] * half + j;
  float* rope = p.q + head * (p.nope_dim + p.rope_dim) + p.nope_dim + 2 * j;
  const float a = rope[0], b = rope[1];
  rope[0] = rotated_real(a, b, p.cos_table[angle], p.sin_table[angle]);
  rope[1] = rotated_imaginary(a, b, p.cos_table[angle], p.sin_table[angle]);
}

struct StoreParams {
  StoreLatentParams store;
  int64_t row_bytes;
};

FATHOM_DEVICE void store_latent_part(const StoreLatentParams& p, unsigned char* row, const RowValues& values,
                                     SharedArray<float> room) {
  const LatentCacheView& cache = p.cache;
  if (cache.dtype != DType::kInt8) {
    for (int64_t i = thread_index(); i < cache.latent_dim; i += kThreads)
      store_float(row, cache.dtype, i, values[i]);
    return;
  }
  const float largest = largest_magnitude(values, cache.latent_dim, room);
  const float inverse = inverse_scale(largest, kInt8Limit);
  for (int64_t i = thread_index(); i < cache.latent_dim; i += kThreads)
    row[i] = static_cast<unsigned char>(
        static_cast<int8_t>(inverse > 0 ? nearest_integer(values[i] * inverse) : 0.0f));
  if (thread_index() == 0) {
    const uint32_t bits = float_to_bits(largest / kInt8Limit);
    unsigned char* at = row + cache.latent_dim + 2 * cache.rope_dim;
    for (int i = 0; i < 4; ++i) at[i] = static_cast<unsigned char>(bits >> (8 * i));
  }
}

FATHOM_DEVICE void store_rotated(const LatentCacheView& cache, unsigned char* row, int64_t i, float value) {
  if (cache.dtype != DType::kInt8) {
    store_float(row, cache.dtype, cache.latent_dim + i, value);
    return;
  }
  const uint16_t bits = float_to_16_bits(value, cache.rope_dtype);
  row[cache.latent_dim + 2 * i] = static_cast<unsigned char>(bits);
  row[cache.latent_dim + 2 * i + 1] = static_cast<unsigned char>(bits >> 8);
}

FATHOM_KERNEL(kThreads) store_latent_kernel(StoreParams params) {
  begin_kernel();
  const StoreLatentParams& p = params.store;
  const LatentCacheView& cache = p.cache;
  SharedMemory shared;
  const SharedArray<float> room = shared.take<float>(kReductionFloats);
  const int64_t t = block_x();
  const float* kv = p.kv_a + t * (cache.latent_dim + cache.rope_dim);
  auto* row = static_cast<unsigned char*>(cache.data) + p.slots[t] * params.row_bytes;
  const RowValues values{kv, p.norm_weight, inverse_rms(kv, cache.latent_dim, p.eps, room),
                         ActivationRounding::kNone};
  store_latent_part(p, row, values, room);
  const int64_t half = cache.rope_dim / 2;
  const float* rope = kv + cache.latent_dim;
  for (int64_t j = thread_index(); j < half; j += kThreads) {
    const float cosine = p.cos_table[p.positions[t] * half + j];
    const float sine = p.sin_table[p.positions[t] * half + j];
    store_rotated(cache, row, 2 * j, rotated_real(rope[2 * j], rope[2 * j + 1], cosine, sine));
    store_rotated(cache, row, 2 * j + 1, rotated_imaginary(rope[2 * j], rope[2 * j + 1], cosine, sine));
  }
}

}  // namespace

int prepare(const cuda::PrepareBatchParams& p, void* stream) {
  return launch(prepare_kernel,
                {.blocks_x = p.rows.end, .threads = kThreads, .shared_bytes = kRoomBytes, .stream = stream},
                p);
}

int rope_query(const RopeQueryParams& p, void* stream) {
  const int64_t pairs = p.end * p.num_heads * (p.rope_dim / 2);
  return launch(rope_query_kernel,
                {.blocks_x = (pairs + kThreads - 1) / kThreads, .threads = kThreads, .stream = stream}, p);
}

int store_latent(const StoreLatentParams& p, void* stream) {
  const LatentCacheView& cache = p.cache;
  return launch(store_latent_kernel,
                {.blocks_x = p.end, .threads = kThreads, .shared_bytes = kRoomBytes, .stream = stream},
                StoreParams{p, latent_row_bytes(cache.dtype, cache.latent_dim, cache.rope_dim)});
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
