#include "benchmark/cublas.h"

#include <dlfcn.h>

namespace fathom {
namespace {

// In the order of preference: as the loader finds them, then where the toolkit puts them.
constexpr const char* kLibraries[] = {"libcublas.so.13", "libcublas.so.12",
                                      "/usr/local/cuda/lib64/libcublas.so"};

// Values of cublas_api.h and library_types.h.
constexpr int kSuccess = 0;
constexpr int kPlain = 0, kTransposed = 1;             // cublasOperation_t
constexpr int kBFloat16 = 14, kInt8 = 3, kInt32 = 10;  // cudaDataType
constexpr int kComputeFloat32 = 68, kComputeInt32 = 72;
constexpr int kDefaultAlgorithm = -1;

}  // namespace

// Signatures of cublas_v2.h; its enums are ints.
struct Cublas::Entries {
  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*set_stream)(void* handle, void* stream) = nullptr;
  int (*gemm)(void* handle, int a_operation, int b_operation, int m, int n, int k, const void* alpha,
              const void* a, int a_type, int a_stride, const void* b, int b_type, int b_stride,
              const void* beta, void* c, int c_type, int c_stride, int compute, int algorithm) = nullptr;

  int multiply(void* handle, const void* a, const void* b, int type, void* c, int c_type, const void* one,
               const void* zero, int compute, int64_t size) const {
    const int n = static_cast<int>(size);
    return gemm(handle, kTransposed, kPlain, n, n, n, one, a, type, n, b, type, n, zero, c, c_type, n,
                compute, kDefaultAlgorithm);
  }
};

Result<std::unique_ptr<Cublas>> Cublas::load(void* stream) {
  void* library = nullptr;
  for (const char* name : kLibraries) {
    // Never closed: it keeps state of the process's device.
    if (library == nullptr) library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  }
  if (library == nullptr) return unsupported("there is no {}", kLibraries[0]);
  auto entries = std::make_unique<Entries>();
  const auto find = [library](const char* name, auto& entry) {
    entry = reinterpret_cast<std::remove_reference_t<decltype(entry)>>(::dlsym(library, name));
    return entry != nullptr;
  };
  if (!find("cublasCreate_v2", entries->create) || !find("cublasDestroy_v2", entries->destroy) ||
      !find("cublasSetStream_v2", entries->set_stream) || !find("cublasGemmEx", entries->gemm))
    return unsupported("this cuBLAS has not the functions that are wanted");
  std::unique_ptr<Cublas> cublas(new Cublas);
  cublas->entries_ = std::move(entries);
  int error = cublas->entries_->create(&cublas->handle_);
  if (error == kSuccess) error = cublas->entries_->set_stream(cublas->handle_, stream);
  if (error != kSuccess) return unsupported("cuBLAS does not start: error {}", error);
  return cublas;
}

Cublas::~Cublas() {
  if (handle_ != nullptr) entries_->destroy(handle_);
}

Status Cublas::multiply_bf16(const void* a, const void* b, void* c, int64_t size) const {
  const float one = 1, zero = 0;
  const int error =
      entries_->multiply(handle_, a, b, kBFloat16, c, kBFloat16, &one, &zero, kComputeFloat32, size);
  if (error != kSuccess) return unsupported("cuBLAS has no bf16 product: error {}", error);
  return ok_status();
}

Status Cublas::multiply_int8(const void* a, const void* b, void* c, int64_t size) const {
  const int32_t one = 1, zero = 0;
  const int error = entries_->multiply(handle_, a, b, kInt8, c, kInt32, &one, &zero, kComputeInt32, size);
  if (error != kSuccess) return unsupported("cuBLAS has no int8 product: error {}", error);
  return ok_status();
}

}  // namespace fathom
