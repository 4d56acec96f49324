// Weights as a backend keeps them. The CPU backend packs matrices (kernels/packed.h) into memory of its own,
// cut at panels into one part per NUMA node; vectors become float32; the embedding table is copied.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/packed.h"
#include "tensor/view.h"

namespace fathom {

// What int8 and int4 weights are multiplied by.
enum class Int8Inputs : uint8_t {
  kInt8,   // W8A8, W4A8 dynamic: one byte a value, scale of its token
  kInt16,  // W8A16, W4A16: close to 16 bits
};

// One weight as a checkpoint stores it. Borrowed. int4 (docs/quantization.md) has the even column in a byte's
// low nibble, two's complement, and a group_size that is a multiple of 32.
struct WeightSource {
  TensorView tensor;              // [rows, cols] or [cols]; floating, int8, or int4 as uint8 [rows, cols / 2]
  const float* scales = nullptr;  // [rows]; int8 and int4
  Int8Inputs int8_inputs = Int8Inputs::kInt8;
  const uint8_t* factors = nullptr;  // [rows, ceil(cols / group_size)] row-major; int4 only
  int64_t group_size = 0;            // inputs that share a factor; 0: not int4
};

// Panels [begin, end) of a matrix, in memory of one node. `panels` is where panel 0 would be.
struct WeightPart {
  const std::byte* panels = nullptr;
  int64_t begin = 0;
  int64_t end = 0;
};

// A matrix [rows, cols], ready for products. Its memory belongs to the backend.
struct Weight {
  kernels::PanelFormat format = kernels::PanelFormat::kFloat32;
  Int8Inputs int8_inputs = Int8Inputs::kInt8;
  kernels::PanelOrder order = kernels::PanelOrder::kPlain;
  int64_t rows = 0;  // kGateUpPairs: of each of the two
  int64_t cols = 0;
  int64_t num_panels = 0;
  std::vector<WeightPart> parts;  // by node
  const float* scales = nullptr;  // [num_panels * 16]; int8 and int4
  const int32_t* sums = nullptr;  // likewise

  bool present() const { return !parts.empty(); }
};

// A vector [size] in float32: norms and biases.
struct VectorWeight {
  const float* data = nullptr;
  int64_t size = 0;

  bool present() const { return data != nullptr; }
};

// Rows [first_row, first_row + rows) of [vocab, D] as stored, row-major.
struct EmbeddingTable {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t cols = 0;
};

// One SwiGLU network: down(silu(gate(x)) * up(x)).
struct MlpWeights {
  Weight gate_up;  // [width, D] twice, in panel pairs
  Weight down;     // [D, width]

  bool present() const { return down.present(); }
};

// kv_b_proj [H (n + v), R], per head n key rows and v value rows, in the shapes that attention multiplies by.
struct KvBWeights {
  std::vector<Weight> absorb;  // [H] of [R, n]: folds the key rows into the query
  std::vector<Weight> keys;    // [H] of [n, R]
  std::vector<Weight> values;  // [H] of [v, R]
};

}  // namespace fathom
