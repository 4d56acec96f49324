// Which implementation of each kernel runs: a list of candidates as data, best first, the scalar reference
// last, chosen once at start by the instruction set in use.
#pragma once

#include <string>
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
  Kernel<LinearParams> linear;
  Kernel<TransposedLinearParams> transposed_linear;
  Kernel<RmsNormParams> rms_norm;
  Kernel<RopeQueryParams> rope_query;
  Kernel<StoreLatentParams> store_latent;
  Kernel<AbsorbedAttentionParams> absorbed_attention;
  Kernel<ExpandedAttentionParams> expanded_attention;
  Kernel<RouterParams> router;
  Kernel<SiluMulParams> silu_mul;
  Kernel<RoundParams> round;
};

// The best candidates that need no more than isa.
KernelTable select_kernels(Isa isa);

// (family, chosen implementation) for people: `fathom env`.
std::vector<std::pair<std::string, std::string>> describe_kernels(const KernelTable& table);

}  // namespace fathom::kernels
