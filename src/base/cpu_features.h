// Which instruction sets this process may really use: the CPU has them (cpuid), the kernel saves their
// registers (xgetbv) and, for AMX, has given this process permission.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fathom {

// Kernel tiers, each including those before it. kReference is plain scalar C++.
enum class Isa : uint8_t { kReference, kAvx2, kAvx512, kAmx };

std::string_view isa_name(Isa isa);  // "reference", "avx2", "avx512", "amx"
std::optional<Isa> isa_from_name(std::string_view name);

struct CpuFeatures {
  std::string model_name;
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, BW, CD, DQ, VL
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool avx512_fp16 = false;
  bool amx_tile = false;  // and permission granted
  bool amx_int8 = false;
  bool amx_bf16 = false;
  bool amx_in_cpu = false;  // whether or not the kernel lets this process use it

  // The highest tier whose every requirement holds. avx512 needs VNNI, which its kernels use; bf16 is
  // optional there.
  Isa best_isa() const;
};

// Reads the CPU. Asks the kernel once for AMX permission, which holds for threads started afterwards too:
// call it before any thread is started.
CpuFeatures detect_cpu_features();

// The number of threads that can run at once: the smallest of the CPU affinity mask and the cgroup's CPU
// quota (rounded down, at least 1). root is put before the control group's paths, for tests.
int available_cpus(const std::string& root = "");

}  // namespace fathom
