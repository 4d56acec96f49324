#include "kernels/probes.h"

#include "base/check.h"
#include "kernels/cpu/amx/probes.h"
#include "kernels/cpu/avx2/probes.h"
#include "kernels/cpu/avx512/probes.h"

namespace fathom::kernels {
namespace {

bool has_amx_int8(const CpuFeatures& f) { return f.amx_tile && f.amx_int8; }
bool has_amx_bf16(const CpuFeatures& f) { return f.amx_tile && f.amx_bf16; }
bool has_avx512(const CpuFeatures& f) { return f.avx512; }
bool has_vnni(const CpuFeatures& f) { return f.avx512_vnni; }
bool has_avx512_bf16(const CpuFeatures& f) { return f.avx512_bf16; }
bool has_avx2(const CpuFeatures& f) { return f.avx2; }
bool always(const CpuFeatures&) { return true; }

constexpr ComputeProbe kComputeProbes[] = {
    {"amx_int8", "AMX tiles, int8", "AMX-INT8", ProbeUnit::kTops, has_amx_int8, amx::int8_tile_probe},
    {"amx_bf16", "AMX tiles, bf16", "AMX-BF16", ProbeUnit::kTflops, has_amx_bf16, amx::bfloat16_tile_probe},
    {"avx512_vnni", "AVX-512 VNNI, int8", "AVX512-VNNI", ProbeUnit::kTops, has_vnni, avx512::int8_vnni_probe},
    {"avx512_bf16", "AVX-512, bf16", "AVX512-BF16", ProbeUnit::kTflops, has_avx512_bf16,
     avx512::bfloat16_dot_probe},
    {"avx512_f32", "AVX-512 FMA, float32", "AVX-512", ProbeUnit::kTflops, has_avx512,
     avx512::float32_fma_probe},
    {"avx2_int8", "AVX2, int8 as int16", "AVX2", ProbeUnit::kTops, has_avx2, avx2::int8_madd_probe},
    {"avx2_f32", "AVX2 FMA, float32", "AVX2", ProbeUnit::kTflops, has_avx2, avx2::float32_fma_probe},
};

// The baseline's reader: words of eight bytes.
void read_words(const ReadParams& p) {
  const int64_t part = p.bytes / p.num_streams;
  uint64_t sums[8] = {};
  for (int64_t i = 0; i < part; i += 64) {
    for (int s = 0; s < p.num_streams; ++s) {
      const auto* at = reinterpret_cast<const uint64_t*>(static_cast<const char*>(p.data) + s * part + i);
      for (int k = 0; k < 8; ++k) sums[k] ^= at[k];
    }
  }
  for (uint64_t sum : sums) __asm__ volatile("" : : "r"(sum));
}

constexpr ReadProbe kReadProbes[] = {{"avx512", has_avx512, avx512::read_streams},
                                     {"avx2", has_avx2, avx2::read_streams},
                                     {"words", always, read_words}};

}  // namespace

std::string_view probe_unit_name(ProbeUnit unit) { return unit == ProbeUnit::kTops ? "TOPS" : "TFLOPS"; }

std::span<const ComputeProbe> compute_probes() { return kComputeProbes; }

const ReadProbe& widest_read_probe(const CpuFeatures& features) {
  for (const ReadProbe& probe : kReadProbes) {
    if (probe.available(features)) return probe;
  }
  FATHOM_CHECK(false, "no baseline reader");
}

}  // namespace fathom::kernels
