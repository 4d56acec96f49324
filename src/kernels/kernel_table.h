// Which implementation of each kernel runs: a list of candidates as data, best first, the scalar reference
// last, chosen once at start by the instruction set in use.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/cpu_features.h"
#include "kernels/params.h"

namespace fathom::kernels {

template <typename Params>
struct Kernel {
  const char* name = "";
  Isa isa = Isa::kReference;
  void (*run)(const Params&) = nullptr;

  void operator()(const Params& params) const { run(params); }
};

struct KernelTable {
  Kernel<PrepareParams> prepare;
  Kernel<LinearParams> linear_float32;  // form kFloat32; weights float32, bf16, fp16
  Kernel<LinearParams> linear_bf16;     // form kBFloat16; weights bf16
  Kernel<LinearParams> linear_int8;     // forms kInt8 and kInt8Pair; weights int8
  Kernel<LinearParams> linear_int4;     // the same forms; weights int4
  Kernel<RopeQueryParams> rope_query;
  Kernel<StoreLatentParams> store_latent;
  Kernel<AbsorbedAttentionParams> absorbed_attention;
  Kernel<MergeSplitsParams> merge_splits;
  Kernel<ExpandedAttentionParams> expanded_attention;
  Kernel<RouterParams> router;

  // What prepare must add to the bytes of the int8 forms for linear_int8 and linear_int4.
  uint8_t int8_zero_point = 0;
  // Whether products of bf16 are taken by instructions made for them: then bf16 weights take bf16 rows
  // where activations are rounded to bf16, and attention multiplies in bf16.
  bool has_bf16_products = false;

  const Kernel<LinearParams>& linear(InputForm form, PanelFormat format) const {
    if (form == InputForm::kFloat32) return linear_float32;
    if (form == InputForm::kBFloat16) return linear_bf16;
    return format == PanelFormat::kInt4 ? linear_int4 : linear_int8;
  }
};

// The best candidates that need no more than isa and that this CPU can run.
KernelTable select_kernels(Isa isa);

// (family, chosen implementation) for people: `fathom env`.
std::vector<std::pair<std::string, std::string>> describe_kernels(const KernelTable& table);

}  // namespace fathom::kernels
