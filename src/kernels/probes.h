// The machine's ceilings as a table: loops that do nothing but multiply-adds in one instruction, or nothing
// but read. They give what kernels are measured against; no kernel uses them. One thread each: the caller
// runs a probe on as many threads as it likes. Only probes that the CPU has may be run.
#pragma once

#include <span>

#include "base/cpu_features.h"
#include "kernels/cpu/probes.h"

namespace fathom::kernels {

enum class ProbeUnit : uint8_t { kTops, kTflops };  // 1e12 integer or float operations a second

std::string_view probe_unit_name(ProbeUnit unit);  // "TOPS", "TFLOPS"

struct ComputeProbe {
  const char* name = "";   // stable, for JSON: "amx_int8"
  const char* label = "";  // for people
  const char* needs = "";  // the CPU features it needs, for people
  ProbeUnit unit = ProbeUnit::kTops;
  bool (*available)(const CpuFeatures& features) = nullptr;
  double (*run)(int64_t iterations) = nullptr;  // returns operations: 2 for a multiply-add
};

struct ReadProbe {
  const char* name = "";  // "avx512"
  bool (*available)(const CpuFeatures& features) = nullptr;
  void (*run)(const ReadParams& p) = nullptr;
};

// Fastest first, those that this CPU lacks too.
std::span<const ComputeProbe> compute_probes();

// The one with the widest loads that this CPU has.
const ReadProbe& widest_read_probe(const CpuFeatures& features);

}  // namespace fathom::kernels
