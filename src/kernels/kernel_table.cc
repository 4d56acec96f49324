#include "kernels/kernel_table.h"

#include "base/check.h"
#include "kernels/cpu/avx2/kernels.h"
#include "kernels/ref/kernels.h"

namespace fathom::kernels {
namespace {

constexpr Kernel<LinearParams> kLinear[] = {{"avx2", Isa::kAvx2, avx2::linear},
                                            {"reference", Isa::kReference, ref::linear}};
constexpr Kernel<TransposedLinearParams> kTransposedLinear[] = {
    {"avx2", Isa::kAvx2, avx2::transposed_linear}, {"reference", Isa::kReference, ref::transposed_linear}};
constexpr Kernel<RmsNormParams> kRmsNorm[] = {{"reference", Isa::kReference, ref::rms_norm}};
constexpr Kernel<RopeQueryParams> kRopeQuery[] = {{"reference", Isa::kReference, ref::rope_query}};
constexpr Kernel<StoreLatentParams> kStoreLatent[] = {{"reference", Isa::kReference, ref::store_latent}};
constexpr Kernel<AbsorbedAttentionParams> kAbsorbedAttention[] = {
    {"avx2", Isa::kAvx2, avx2::absorbed_attention}, {"reference", Isa::kReference, ref::absorbed_attention}};
constexpr Kernel<ExpandedAttentionParams> kExpandedAttention[] = {
    {"avx2", Isa::kAvx2, avx2::expanded_attention}, {"reference", Isa::kReference, ref::expanded_attention}};
constexpr Kernel<RouterParams> kRouter[] = {{"reference", Isa::kReference, ref::router}};
constexpr Kernel<SiluMulParams> kSiluMul[] = {{"avx2", Isa::kAvx2, avx2::silu_mul},
                                              {"reference", Isa::kReference, ref::silu_mul}};
constexpr Kernel<RoundParams> kRound[] = {{"reference", Isa::kReference, ref::round}};

template <typename Params, size_t N>
Kernel<Params> choose(const Kernel<Params> (&candidates)[N], Isa isa) {
  for (const Kernel<Params>& candidate : candidates) {
    if (candidate.isa <= isa) return candidate;
  }
  FATHOM_CHECK(false, "a kernel family without a reference");
}

}  // namespace

KernelTable select_kernels(Isa isa) {
  return {
      .linear = choose(kLinear, isa),
      .transposed_linear = choose(kTransposedLinear, isa),
      .rms_norm = choose(kRmsNorm, isa),
      .rope_query = choose(kRopeQuery, isa),
      .store_latent = choose(kStoreLatent, isa),
      .absorbed_attention = choose(kAbsorbedAttention, isa),
      .expanded_attention = choose(kExpandedAttention, isa),
      .router = choose(kRouter, isa),
      .silu_mul = choose(kSiluMul, isa),
      .round = choose(kRound, isa),
  };
}

std::vector<std::pair<std::string, std::string>> describe_kernels(const KernelTable& table) {
  return {
      {"linear", table.linear.name},
      {"transposed_linear", table.transposed_linear.name},
      {"rms_norm", table.rms_norm.name},
      {"rope_query", table.rope_query.name},
      {"store_latent", table.store_latent.name},
      {"absorbed_attention", table.absorbed_attention.name},
      {"expanded_attention", table.expanded_attention.name},
      {"router", table.router.name},
      {"silu_mul", table.silu_mul.name},
      {"round", table.round.name},
  };
}

}  // namespace fathom::kernels
