#include "device/input_rows.h"

#include <cstring>

#include "base/checked_math.h"

namespace fathom {
namespace {

// Whole tiles of every format, so that the forms share one width.
constexpr int64_t kWidthStep = 64;

constexpr InputForm kAllForms[] = {InputForm::kFloat32, InputForm::kBFloat16, InputForm::kInt8,
                                   InputForm::kInt8Pair};

bool has_scales(InputForm form) { return form == InputForm::kInt8 || form == InputForm::kInt8Pair; }

}  // namespace

int64_t InputRows::row_bytes(InputForm form) const {
  return kernels::rows_per_token(form) * padded_ * kernels::input_bytes(form);
}

void InputRows::resize(int64_t num_rows, int64_t width, FormSet forms) {
  // An odd number of steps: rows an even number of lines apart share few sets of the first-level cache, which
  // made tiles of 16 rows take twice the time.
  padded_ = (ceil_div(width, kWidthStep) | 1) * kWidthStep;
  forms_ = forms;
  for (InputForm form : kAllForms) {
    if (!forms.has(form)) continue;
    FormRows& rows = rows_[static_cast<int>(form)];
    rows.data.reserve(static_cast<size_t>(num_rows * row_bytes(form)));
    if (has_scales(form)) rows.scales.reserve(static_cast<size_t>(num_rows) * sizeof(float));
  }
}

kernels::PreparedRows InputRows::destination(InputForm form, int64_t first_row) const {
  if (!forms_.has(form)) return {};
  const FormRows& rows = rows_[static_cast<int>(form)];
  return {.data = rows.data.data() + first_row * row_bytes(form),
          .scales = has_scales(form) ? rows.scales.floats() + first_row : nullptr,
          .padded = padded_};
}

void InputRows::set_destinations(kernels::PrepareParams& params, int64_t first_row) const {
  params.float32 = destination(InputForm::kFloat32, first_row);
  params.bfloat16 = destination(InputForm::kBFloat16, first_row);
  params.int8 = destination(InputForm::kInt8, first_row);
  params.int8_pair = destination(InputForm::kInt8Pair, first_row);
}

void InputRows::set_inputs(kernels::LinearParams& params, InputForm form, int64_t first_row) const {
  const kernels::PreparedRows rows = destination(form, first_row);
  params.x = rows.data;
  params.x_scales = rows.scales;
  params.x_stride = rows.padded;
  params.form = form;
}

void InputRows::copy_row(const InputRows& source, int64_t from, int64_t to) {
  for (InputForm form : kAllForms) {
    if (!forms_.has(form)) continue;
    const kernels::PreparedRows in = source.destination(form, from);
    const kernels::PreparedRows out = destination(form, to);
    std::memcpy(out.data, in.data, static_cast<size_t>(row_bytes(form)));
    if (has_scales(form)) *out.scales = *in.scales;
  }
}

}  // namespace fathom
