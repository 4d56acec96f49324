#include "kernels/kernel_table.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/amx/kernels.h"
#include "kernels/cpu/avx2/kernels.h"
#include "kernels/cpu/avx512/attention.h"
#include "kernels/cpu/avx512/kernels.h"
#include "kernels/ref/kernels.h"

namespace fathom::kernels {
namespace {

constexpr Kernel<PrepareParams> kPrepare[] = {{"avx512", Isa::kAvx512, avx512::prepare},
                                              {"avx2", Isa::kAvx2, avx2::prepare},
                                              {"reference", Isa::kReference, ref::prepare}};
constexpr Kernel<LinearParams> kLinearFloat32[] = {{"avx512", Isa::kAvx512, avx512::linear_float32},
                                                   {"avx2", Isa::kAvx2, avx2::linear_float32},
                                                   {"reference", Isa::kReference, ref::linear}};
constexpr Kernel<LinearParams> kLinearBf16[] = {{"amx", Isa::kAmx, amx::linear_bf16},
                                                {"avx512", Isa::kAvx512, avx512::linear_bf16},
                                                {"reference", Isa::kReference, ref::linear}};
constexpr Kernel<LinearParams> kLinearInt8[] = {{"amx", Isa::kAmx, amx::linear_int8},
                                                {"avx512", Isa::kAvx512, avx512::linear_int8},
                                                {"avx2", Isa::kAvx2, avx2::linear_int8},
                                                {"reference", Isa::kReference, ref::linear}};
constexpr Kernel<LinearParams> kLinearInt4[] = {{"amx", Isa::kAmx, amx::linear_int4},
                                                {"avx512", Isa::kAvx512, avx512::linear_int4},
                                                {"avx2", Isa::kAvx2, avx2::linear_int4},
                                                {"reference", Isa::kReference, ref::linear}};
constexpr Kernel<RopeQueryParams> kRopeQuery[] = {{"avx512", Isa::kAvx512, avx512::rope_query},
                                                  {"avx2", Isa::kAvx2, avx2::rope_query},
                                                  {"reference", Isa::kReference, ref::rope_query}};
constexpr Kernel<StoreLatentParams> kStoreLatent[] = {{"avx512", Isa::kAvx512, avx512::store_latent},
                                                      {"avx2", Isa::kAvx2, avx2::store_latent},
                                                      {"reference", Isa::kReference, ref::store_latent}};
constexpr Kernel<AbsorbedAttentionParams> kAbsorbedAttention[] = {
    {"amx", Isa::kAmx, amx::absorbed_attention},
    {"avx512", Isa::kAvx512, avx512::absorbed_attention},
    {"avx2", Isa::kAvx2, avx2::absorbed_attention},
    {"reference", Isa::kReference, ref::absorbed_attention}};
constexpr Kernel<MergeSplitsParams> kMergeSplits[] = {{"avx512", Isa::kAvx512, avx512::merge_splits},
                                                      {"avx2", Isa::kAvx2, avx2::merge_splits},
                                                      {"reference", Isa::kReference, ref::merge_splits}};
constexpr Kernel<ExpandedAttentionParams> kExpandedAttention[] = {
    {"amx", Isa::kAmx, amx::expanded_attention},
    {"avx512", Isa::kAvx512, avx512::expanded_attention},
    {"avx2", Isa::kAvx2, avx2::expanded_attention},
    {"reference", Isa::kReference, ref::expanded_attention}};
constexpr Kernel<RouterParams> kRouter[] = {{"reference", Isa::kReference, ref::router}};

template <typename Params, size_t N>
Kernel<Params> choose(const Kernel<Params> (&candidates)[N], Isa isa) {
  for (const Kernel<Params>& candidate : candidates) {
    if (candidate.isa <= isa) return candidate;
  }
  FATHOM_CHECK(false, "a kernel family without a reference");
}

}  // namespace

KernelTable select_kernels(Isa isa) {
  const CpuFeatures features = detect_cpu_features();
  const bool has_bf16_products = isa == Isa::kAmx || (isa == Isa::kAvx512 && features.avx512_bf16);
  // Without instructions for bf16 products the tier below computes with bf16 rows, where it is asked to.
  const Isa bf16_isa = has_bf16_products ? isa : std::min(isa, Isa::kAvx2);
  const Kernel<LinearParams> linear_int8 = choose(kLinearInt8, isa);
  return {
      .prepare = choose(kPrepare, isa),
      .linear_float32 = choose(kLinearFloat32, isa),
      .linear_bf16 = choose(kLinearBf16, bf16_isa),
      .linear_int8 = linear_int8,
      .linear_int4 = choose(kLinearInt4, isa),
      .rope_query = choose(kRopeQuery, isa),
      .store_latent = choose(kStoreLatent, isa),
      .absorbed_attention = choose(kAbsorbedAttention, isa),
      .merge_splits = choose(kMergeSplits, isa),
      .expanded_attention = choose(kExpandedAttention, isa),
      .router = choose(kRouter, isa),
      // vpdpbusd and tdpbusd multiply unsigned activations by signed weights; AVX2 takes both signed.
      .int8_zero_point = linear_int8.isa >= Isa::kAvx512 ? uint8_t{128} : uint8_t{0},
      .has_bf16_products = has_bf16_products,
  };
}

std::vector<std::pair<std::string, std::string>> describe_kernels(const KernelTable& table) {
  return {
      {"prepare", table.prepare.name},
      {"linear_float32", table.linear_float32.name},
      {"linear_bf16", table.linear_bf16.name},
      {"linear_int8", table.linear_int8.name},
      {"linear_int4", table.linear_int4.name},
      {"rope_query", table.rope_query.name},
      {"store_latent", table.store_latent.name},
      {"absorbed_attention", table.absorbed_attention.name},
      {"merge_splits", table.merge_splits.name},
      {"expanded_attention", table.expanded_attention.name},
      {"router", table.router.name},
  };
}

}  // namespace fathom::kernels
