#include "model/weight_window.h"

#include <cstring>

#include "base/check.h"
#include "kernels/packed.h"
#include "kernels/ref/numbers.h"

namespace fathom {
namespace {

// Of a stored tensor: elements in a byte count as one of its columns.
struct StoredColumns {
  int64_t begin = 0;
  int64_t count = 0;
};

StoredColumns stored_columns(const StoredWeight& stored, IndexRange cols) {
  const int64_t per_element = is_int4(stored.type) ? 2 : 1;
  return {cols.begin / per_element, cols.size() / per_element};
}

int64_t num_stored_columns(const StoredWeight& stored) {
  return stored.tensor.shape.rank() == 2 ? stored.tensor.shape[1] : 1;
}

void gather_columns(const std::byte* from, size_t row_bytes, size_t begin, size_t count, int64_t num_rows,
                    std::vector<std::byte>& to) {
  to.resize(static_cast<size_t>(num_rows) * count);
  for (size_t row = 0; row < static_cast<size_t>(num_rows); ++row)
    std::memcpy(to.data() + row * count, from + row * row_bytes + begin, count);
}

// The slice's factors by groups of 32: longer ones say theirs several times.
void cut_factors(const StoredWeight& stored, const TensorSlice& slice, WeightWindow& window) {
  constexpr int64_t kGroup = kernels::kInt4GroupInputs;
  FATHOM_CHECK(slice.cols.begin % kGroup == 0, "int4 columns from {} on", slice.cols.begin);
  const auto* factors = static_cast<const uint8_t*>(stored.factors.data);
  const int64_t groups_of_row = stored.factors.shape[1];
  for (int64_t row = slice.rows.begin; row < slice.rows.end; ++row)
    for (int64_t col = slice.cols.begin; col < slice.cols.end; col += kGroup)
      window.factors.push_back(factors[row * groups_of_row + col / stored.group_size]);
}

}  // namespace

int64_t window_group_size(const StoredWeight& stored, IndexRange cols) {
  if (!is_int4(stored.type)) return 0;
  const bool all_columns = stored_columns(stored, cols).count == num_stored_columns(stored);
  return all_columns ? stored.group_size : kernels::kInt4GroupInputs;
}

WeightSource WeightWindow::source() const {
  return {.tensor = tensor,
          .scales = scales.empty() ? nullptr : scales.data(),
          .int8_inputs = has_16bit_inputs(type) ? Int8Inputs::kInt16 : Int8Inputs::kInt8,
          .factors = factors.empty() ? stored_factors : factors.data(),
          .group_size = group_size};
}

WeightWindow cut_weight(std::string name, const StoredWeight& stored, const void* data,
                        const TensorSlice& slice) {
  WeightWindow window;
  window.name = std::move(name);
  window.type = stored.type;
  const bool is_matrix = stored.tensor.shape.rank() == 2;
  const int64_t stored_cols = num_stored_columns(stored);
  const size_t element_bytes = dtype_bytes(stored.tensor.dtype);
  const size_t row_bytes = static_cast<size_t>(stored_cols) * element_bytes;
  const StoredColumns cols = stored_columns(stored, slice.cols);
  const bool all_columns = cols.count == stored_cols;
  const std::byte* first_row =
      static_cast<const std::byte*>(data) + static_cast<size_t>(slice.rows.begin) * row_bytes;
  window.tensor = {first_row, stored.tensor.dtype,
                   is_matrix ? Shape{slice.rows.size(), cols.count} : Shape{slice.rows.size()}};
  if (!all_columns) {
    gather_columns(first_row, row_bytes, static_cast<size_t>(cols.begin) * element_bytes,
                   static_cast<size_t>(cols.count) * element_bytes, slice.rows.size(), window.gathered);
    window.tensor.data = window.gathered.data();
  }
  if (stored.type != QuantType::kFloat) {
    for (int64_t row = slice.rows.begin; row < slice.rows.end; ++row)
      window.scales.push_back(kernels::ref::load_element(stored.scale.data, stored.scale.dtype, row));
  }
  if (!is_int4(stored.type)) return window;
  window.group_size = window_group_size(stored, slice.cols);
  if (all_columns) {
    window.stored_factors =
        static_cast<const uint8_t*>(stored.factors.data) + slice.rows.begin * stored.factors.shape[1];
  } else {
    cut_factors(stored, slice, window);
  }
  return window;
}

}  // namespace fathom
