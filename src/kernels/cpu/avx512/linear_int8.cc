#include "kernels/cpu/avx512/int8_product.h"
#include "kernels/cpu/avx512/kernels.h"

namespace fathom::kernels::avx512 {

void linear_int8(const LinearParams& p) {
  if (p.form == InputForm::kInt8) {
    run_linear<Int8Product<1>>(p);
  } else {
    run_linear<Int8Product<2>>(p);
  }
}

}  // namespace fathom::kernels::avx512
