// The ceilings of a CUDA device: how fast it copies its own memory, and how fast it multiplies matrices. What
// runs on the device is held against them as what runs on the CPU is against benchmark/ceiling_meter.h's.
//
// Products are cuBLAS's where the system has it, else this project's own kernel is its own yardstick, and the
// name of the rate says so.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "benchmark/cublas.h"
#include "benchmark/cuda_linear.h"
#include "benchmark/roof.h"

namespace fathom {

// A product that was measured.
struct ProductRate {
  std::string_view type;  // "bf16", "int8"
  std::string_view by;    // "cuBLAS", "own kernel"
  int64_t size = 0;       // of the square matrices
  Rate rate;              // operations a second
};

class CudaMeter {
 public:
  // Borrows the device, and takes about a hundredth of its memory. Failure: no memory.
  static Result<std::unique_ptr<CudaMeter>> create(const CudaDevice& device);

  const CudaDeviceFacts& facts() const { return device_.facts; }
  uint64_t copy_bytes() const { return from_.bytes(); }  // of a pass
  // Bytes a second, those read and those written.
  Result<Rate> copy(double seconds);
  // The fastest product that was found of each type; all that there are.
  Result<ProductRate> product(std::string_view type, double seconds);
  Result<std::vector<ProductRate>> all_products(double seconds);

  // What Moment says of the CPU, of the device: copies are its reads. Rates of the probes that are asked for,
  // but none of float32.
  Result<Moment> measure(const MomentOptions& options);

 private:
  enum class By : uint8_t { kLibrary, kOwn };

  explicit CudaMeter(const CudaDevice& device) : device_(device) {}
  Status reserve();
  Result<ProductRate> product_by(By by, std::string_view type, double seconds);

  const CudaDevice& device_;
  std::unique_ptr<Cublas> library_;  // null: there is none
  int64_t size_ = 0;
  DeviceBuffer from_, to_;
  DeviceBuffer a_, b_, c_;  // [size, size], c of 4 bytes an element
};

// The rates that a meter measures, by name; what needed_rates() and measure() are given.
TierRates cuda_probes();

// All of it, for a report.
struct CudaCeilings {
  CudaDeviceFacts facts;
  uint64_t copy_bytes = 0;
  Rate copy;
  std::vector<ProductRate> products;
};
Result<CudaCeilings> measure_cuda(CudaMeter& meter, double seconds);

}  // namespace fathom
