#include "parallel/mpi_transport.h"

#include <dlfcn.h>

#include <filesystem>

#include "base/file.h"

namespace fathom {
namespace {

constexpr const char* kModule = "libfathom_mpi.so";

std::string find_module() {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* place : {"", "../lib/fathom"}) {
    const std::string path = (folder / place / kModule).lexically_normal();
    if (file_exists(path)) return path;
  }
  return kModule;  // where the system looks for libraries
}

}  // namespace

Result<std::unique_ptr<Transport>> open_mpi_transport(const std::string& module_path) {
  const std::string path = module_path.empty() ? find_module() : module_path;
  // Global, because Open MPI's own plug-ins take it for granted that they see its libraries.
  void* module = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (module == nullptr) {
    const char* reason = ::dlerror();
    return unsupported("several ranks need Open MPI and {}: {} (Debian: apt-get install openmpi-bin)",
                       kModule, reason);
  }
  const auto open = reinterpret_cast<OpenMpi>(::dlsym(module, kOpenMpiSymbol));
  if (open == nullptr) return unsupported("{}: has no {}", path, kOpenMpiSymbol);
  std::string error;
  Transport* transport = open(&error);
  if (transport == nullptr) return io_error("MPI: {}", error);
  return std::unique_ptr<Transport>(transport);
}

}  // namespace fathom
