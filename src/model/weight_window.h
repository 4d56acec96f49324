// The part of a stored weight that slices have, as a backend loads it: rows where they lie, columns gathered.
#pragma once

#include <string>
#include <vector>

#include "device/weights.h"
#include "model/sharding.h"
#include "model/stored_weight.h"

namespace fathom {

struct WeightWindow {
  std::string name;
  TensorView tensor;                        // of the slice; of the checkpoint's memory, or of gathered
  std::vector<float> scales;                // int8 and int4: of the rows
  std::vector<uint8_t> factors;             // int4 whose columns are cut: by 32 inputs
  const uint8_t* stored_factors = nullptr;  // int4 with all columns
  int64_t group_size = 0;
  QuantType type = QuantType::kFloat;
  std::vector<std::byte> gathered;

  bool empty() const { return tensor.shape.num_elements() == 0; }
  WeightSource source() const;
};

// Inputs that share a factor in a window of those columns: of cut columns 32, the groups of kernels/packed.h.
// 0 where the weight is not int4.
int64_t window_group_size(const StoredWeight& stored, IndexRange cols);

// stored with its data at `data`; cuts of int4 columns begin at multiples of 32.
WeightWindow cut_weight(std::string name, const StoredWeight& stored, const void* data,
                        const TensorSlice& slice);

}  // namespace fathom
