// Rows of activations in the forms that linears read (kernels::InputForm), written once and read by every
// weight that takes the same input. Buffers grow and are reused.
#pragma once

#include "device/aligned_buffer.h"
#include "kernels/params.h"

namespace fathom {

using kernels::InputForm;

// A set of InputForms.
class FormSet {
 public:
  FormSet() = default;
  FormSet(std::initializer_list<InputForm> forms) {
    for (InputForm form : forms) add(form);
  }
  void add(InputForm form) { bits_ = static_cast<uint8_t>(bits_ | 1u << static_cast<int>(form)); }
  bool has(InputForm form) const { return ((bits_ >> static_cast<int>(form)) & 1u) != 0; }

 private:
  uint8_t bits_ = 0;
};

class InputRows {
 public:
  // Makes room for num_rows rows of width in each of the forms; earlier contents are lost.
  void resize(int64_t num_rows, int64_t width, FormSet forms);

  // The destinations of kernels::prepare, with row 0 of its x going to row first_row here.
  void set_destinations(kernels::PrepareParams& params, int64_t first_row) const;

  // x, its scales, form and stride of a linear that reads from row first_row on.
  void set_inputs(kernels::LinearParams& params, InputForm form, int64_t first_row) const;

  // Copies row `from` of source, which has the same width and all of these forms, to row `to`.
  void copy_row(const InputRows& source, int64_t from, int64_t to);

 private:
  static constexpr int kNumForms = 4;
  struct FormRows {
    AlignedBuffer data;
    AlignedBuffer scales;  // of the int8 forms
  };
  kernels::PreparedRows destination(InputForm form, int64_t first_row) const;
  int64_t row_bytes(InputForm form) const;  // of one token

  int64_t padded_ = 0;  // elements
  FormSet forms_;
  FormRows rows_[kNumForms];
};

}  // namespace fathom
