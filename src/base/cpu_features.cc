#include "base/cpu_features.h"

#include <cpuid.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iterator>

#include "base/file.h"

namespace fathom {
namespace {

constexpr std::string_view kIsaNames[] = {"reference", "avx2", "avx512", "amx"};

struct CpuidLeaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidLeaf r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

// The register states that the operating system saves (XCR0).
uint64_t saved_states() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool bit(uint32_t word, int index) { return ((word >> index) & 1u) != 0; }

bool ask_amx_permission() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

std::string read_model_name() {
  char name[49] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    const CpuidLeaf part = cpuid(0x80000002u + i, 0);
    std::memcpy(name + 16 * i, &part, 16);
  }
  std::string text(name);
  text.erase(0, text.find_first_not_of(' '));
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

std::optional<int64_t> parse_quota(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

// CPUs that the control group's quota amounts to: "quota period" in version 2, two files in version 1;
// nullopt when there is none ("max", or -1).
std::optional<int> cgroup_cpus(const std::string& root) {
  const std::string both = read_system_file(root + "/sys/fs/cgroup/cpu.max");
  std::optional<int64_t> quota = parse_quota(both);
  std::optional<int64_t> period;
  if (const size_t space = both.find(' '); space != std::string::npos) {
    period = parse_quota(std::string_view(both).substr(space + 1));
  }
  if (both.empty()) {
    quota = parse_quota(read_system_file(root + "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"));
    period = parse_quota(read_system_file(root + "/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  }
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return static_cast<int>(std::max<int64_t>(1, *quota / *period));
}

}  // namespace

std::string_view isa_name(Isa isa) { return kIsaNames[static_cast<size_t>(isa)]; }

std::optional<Isa> isa_from_name(std::string_view name) {
  const auto* found = std::find(std::begin(kIsaNames), std::end(kIsaNames), name);
  if (found == std::end(kIsaNames)) return std::nullopt;
  return static_cast<Isa>(found - std::begin(kIsaNames));
}

Isa CpuFeatures::best_isa() const {
  if (avx2 && avx512 && avx512_vnni && avx512_bf16 && amx_tile && amx_int8 && amx_bf16) return Isa::kAmx;
  if (avx2 && avx512 && avx512_vnni) return Isa::kAvx512;
  return avx2 ? Isa::kAvx2 : Isa::kReference;
}

CpuFeatures detect_cpu_features() {
  CpuFeatures features;
  features.model_name = read_model_name();
  const CpuidLeaf leaf1 = cpuid(1, 0);
  const bool os_saves_extended = bit(leaf1.ecx, 27);
  const uint64_t saved = os_saves_extended ? saved_states() : 0;
  const bool ymm_saved = (saved & 0x6) == 0x6;
  const bool zmm_saved = (saved & 0xe6) == 0xe6;
  const bool tiles_saved = (saved & 0x60000) == 0x60000;
  const CpuidLeaf leaf7 = cpuid(7, 0);
  const CpuidLeaf leaf7_1 = cpuid(7, 1);
  features.avx2 = ymm_saved && bit(leaf7.ebx, 5) && bit(leaf1.ecx, 12) && bit(leaf1.ecx, 29);
  features.avx512 = zmm_saved && bit(leaf7.ebx, 16) && bit(leaf7.ebx, 17) && bit(leaf7.ebx, 28) &&
                    bit(leaf7.ebx, 30) && bit(leaf7.ebx, 31);
  features.avx512_vnni = features.avx512 && bit(leaf7.ecx, 11);
  features.avx512_bf16 = features.avx512 && bit(leaf7_1.eax, 5);
  features.avx512_fp16 = features.avx512 && bit(leaf7.edx, 23);
  features.amx_in_cpu = bit(leaf7.edx, 24);
  features.amx_tile = features.amx_in_cpu && tiles_saved && ask_amx_permission();
  features.amx_int8 = features.amx_tile && bit(leaf7.edx, 25);
  features.amx_bf16 = features.amx_tile && bit(leaf7.edx, 22);
  return features;
}

int available_cpus(const std::string& root) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  int count = 1;
  if (::sched_getaffinity(0, sizeof(mask), &mask) == 0) count = std::max(1, CPU_COUNT(&mask));
  if (const auto quota = cgroup_cpus(root)) count = std::min(count, *quota);
  return count;
}

}  // namespace fathom
