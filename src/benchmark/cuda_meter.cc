#include "benchmark/cuda_meter.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"

namespace fathom {
namespace {

constexpr std::string_view kTypes[] = {"bf16", "int8"};
// What is copied: a 256th of the device's memory is many times its caches (545 MB on an H200).
constexpr uint64_t kCopyShare = 256;
// Matrices of 8,448 on 132 multiprocessors: whole tiles for each, 16 of 128 x 128.
constexpr int64_t kSizePerProcessor = 64;
constexpr int64_t kSizeStep = 256;
constexpr int64_t kEmulatedSize = 64;

Rate rate_of(double amount, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {.best = amount / seconds.front(),
          .median = amount / seconds[seconds.size() / 2],
          .worst = amount / seconds.back(),
          .num_passes = static_cast<int>(seconds.size())};
}

const LinearFormat& format_of(std::string_view type) {
  const std::string_view name = type == "int8" ? "w8a8" : type;
  const auto* format =
      std::find_if(std::begin(kLinearFormats), std::end(kLinearFormats),
                   [name](const LinearFormat& one) { return std::string_view(one.name) == name; });
  FATHOM_CHECK(format != std::end(kLinearFormats), "no format {}", name);
  return *format;
}

}  // namespace

TierRates cuda_probes() {
  return {.int8 = TierRates::Named{kTypes[1], 0}, .bfloat16 = TierRates::Named{kTypes[0], 0}, .float32 = {}};
}

Status CudaMeter::reserve() {
  const int64_t copy_bytes = memory_share(device_, kCopyShare);
  size_ = device_.facts.is_emulated
              ? kEmulatedSize
              : round_up(device_.facts.num_multiprocessors * kSizePerProcessor, kSizeStep);
  const int64_t elements = size_ * size_;
  FATHOM_ASSIGN_OR_RETURN(from_, random_cuda_memory(device_, copy_bytes, DType::kInt8));
  FATHOM_ASSIGN_OR_RETURN(to_, cuda_memory(device_, copy_bytes));
  if (library_ == nullptr) return ok_status();
  FATHOM_ASSIGN_OR_RETURN(a_, random_cuda_memory(device_, 2 * elements, DType::kBFloat16));
  FATHOM_ASSIGN_OR_RETURN(b_, random_cuda_memory(device_, 2 * elements, DType::kBFloat16));
  FATHOM_ASSIGN_OR_RETURN(c_, cuda_memory(device_, 4 * elements));
  return ok_status();
}

Result<std::unique_ptr<CudaMeter>> CudaMeter::create(const CudaDevice& device) {
  std::unique_ptr<CudaMeter> meter(new CudaMeter(device));
  if (!device.facts.is_emulated) {
    if (auto library = Cublas::load(device.stream); library.ok()) meter->library_ = std::move(*library);
  }
  FATHOM_RETURN_IF_ERROR(meter->reserve());
  return meter;
}

Result<Rate> CudaMeter::copy(double seconds) {
  const size_t bytes = from_.bytes();
  FATHOM_ASSIGN_OR_RETURN(std::vector<double> passes, time_passes(device_, seconds, [&] {
                            return device_.copy(from_.data(), to_.data(), bytes, device_.stream);
                          }));
  return rate_of(2 * static_cast<double>(bytes), std::move(passes));
}

Result<ProductRate> CudaMeter::product_by(By by, std::string_view type, double seconds) {
  ProductRate product{
      .type = type, .by = by == By::kLibrary ? "cuBLAS" : "own kernel", .size = size_, .rate = {}};
  const auto size = static_cast<double>(size_);
  const double operations = 2 * size * size * size;
  if (by == By::kLibrary) {
    const auto multiply = type == "int8" ? &Cublas::multiply_int8 : &Cublas::multiply_bf16;
    FATHOM_ASSIGN_OR_RETURN(std::vector<double> passes, time_passes(device_, seconds, [&] {
                              return (*library_.*multiply)(a_.data(), b_.data(), c_.data(), size_);
                            }));
    product.rate = rate_of(operations, std::move(passes));
    return product;
  }
  const LinearFormat& format = format_of(type);
  const CudaLinear::Sizes sizes{.outputs = size_, .inputs = size_, .num_tokens = size_};
  const int64_t weight_bytes = sizes.num_panels() * kernels::panel_bytes(size_, format.panels());
  FATHOM_ASSIGN_OR_RETURN(const DeviceBuffer weight, random_cuda_memory(device_, weight_bytes, format.dtype));
  FATHOM_ASSIGN_OR_RETURN(const CudaLinear linear, CudaLinear::create(device_, weight, format, sizes));
  FATHOM_ASSIGN_OR_RETURN(std::vector<double> passes, time_passes(device_, seconds, [&]() -> Status {
                            const int error = linear.launch(0);
                            return error == 0 ? ok_status() : unsupported("CUDA's error {}", error);
                          }));
  product.rate = rate_of(operations, std::move(passes));
  return product;
}

Result<ProductRate> CudaMeter::product(std::string_view type, double seconds) {
  if (library_ != nullptr) {
    // A library may have no int8 product for this device.
    if (auto product = product_by(By::kLibrary, type, seconds); product.ok()) return product;
  }
  return product_by(By::kOwn, type, seconds);
}

Result<std::vector<ProductRate>> CudaMeter::all_products(double seconds) {
  std::vector<ProductRate> products;
  for (const std::string_view type : kTypes) {
    if (library_ != nullptr) {
      if (auto product = product_by(By::kLibrary, type, seconds); product.ok()) products.push_back(*product);
    }
    FATHOM_ASSIGN_OR_RETURN(const ProductRate own, product_by(By::kOwn, type, seconds));
    products.push_back(own);
  }
  return products;
}

Result<Moment> CudaMeter::measure(const MomentOptions& options) {
  FATHOM_ASSIGN_OR_RETURN(const Rate rate, copy(options.read_seconds));
  Moment moment{.read_bytes_per_second = rate.median, .rates = {}};
  const auto measure_product = [&](const std::optional<TierRates::Named>& wanted,
                                   std::optional<TierRates::Named>& found) -> Status {
    if (!wanted) return ok_status();
    FATHOM_ASSIGN_OR_RETURN(const ProductRate product,
                            this->product(wanted->probe_name, options.compute_seconds));
    found = TierRates::Named{product.by, product.rate.best};
    return ok_status();
  };
  FATHOM_RETURN_IF_ERROR(measure_product(options.probes.int8, moment.rates.int8));
  FATHOM_RETURN_IF_ERROR(measure_product(options.probes.bfloat16, moment.rates.bfloat16));
  return moment;
}

Result<CudaCeilings> measure_cuda(CudaMeter& meter, double seconds) {
  CudaCeilings ceilings{.facts = meter.facts(), .copy_bytes = meter.copy_bytes(), .copy = {}, .products = {}};
  FATHOM_ASSIGN_OR_RETURN(ceilings.copy, meter.copy(seconds));
  FATHOM_ASSIGN_OR_RETURN(ceilings.products, meter.all_products(seconds));
  return ceilings;
}

}  // namespace fathom
