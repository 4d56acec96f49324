// Absorbed attention on a CUDA device: one token of each of some sequences, as a step of decoding has them.
#include <algorithm>
#include <limits>

#include "base/checked_math.h"
#include "benchmark/cuda_kernel_section.h"
#include "benchmark/random_memory.h"
#include "kernels/cuda/split_plan.h"

namespace fathom {
namespace {

using kernels::cuda::SplitItem;
using kernels::cuda::SplitResults;

constexpr int64_t kCudaBlockSize = 128;
constexpr int64_t kCudaSequences[] = {1, 32, 128};

struct CudaCacheFormat {
  const char* name;
  DType dtype;
};
constexpr CudaCacheFormat kCudaCacheFormats[] = {{"absorbed, bf16 cache", DType::kBFloat16},
                                                 {"absorbed, int8 cache", DType::kInt8}};

class CudaAbsorbed {
 public:
  struct Sizes {
    int64_t num_sequences = 0;
    int64_t num_keys = 0;
  };
  static Result<CudaAbsorbed> create(const CudaKernelBench& bench, DType dtype, const Sizes& sizes) {
    CudaAbsorbed attention(bench, dtype, sizes);
    FATHOM_RETURN_IF_ERROR(attention.fill_cache());
    FATHOM_RETURN_IF_ERROR(attention.plan());
    return attention;
  }

  KernelRow row() const {
    const auto keys = static_cast<double>(sizes_.num_sequences * sizes_.num_keys);
    KernelRow row{
        .name = "absorbed",
        .kernel = "cuda",
        .shape = fmt::format("{} x {} keys, {} heads", sizes_.num_sequences, sizes_.num_keys, num_heads_),
        .tokens = sizes_.num_sequences,
        .bytes = keys * static_cast<double>(row_bytes_)};
    row.rotated_bytes = row.bytes * static_cast<double>(num_copies_);
    row.operations.attention = 2 * static_cast<double>(num_heads_) * keys *
                               static_cast<double>(2 * cache_.latent_dim + cache_.rope_dim);
    return row;
  }

  int launch(int64_t call) const {
    const kernels::cuda::AbsorbedBatchParams params{
        .q = q_.floats(),
        // Another copy of the cache.
        .page_tables = static_cast<const int32_t*>(pages_.data()) + call % num_copies_ * pages_per_copy(),
        .items = static_cast<const SplitItem*>(items_.data()),
        .out = out_.floats(),
        .max = max_.floats(),
        .sum = sum_.floats(),
        .cache = cache_,
        .num_items = num_items_,
        .max_item_rows = max_item_rows_,
        .num_heads = num_heads_,
        .scale = 1,
        .precision = kernels::AttentionPrecision::kBFloat16};
    const CudaDevice& device = bench_->device;
    if (const int error = device.kernels.absorbed_attention(params, device.stream); error != 0) return error;
    return device.kernels.merge_splits({.out = params.out,
                                        .max = params.max,
                                        .sum = params.sum,
                                        .results = static_cast<const SplitResults*>(results_.data()),
                                        .y = y_.floats(),
                                        .num_rows = sizes_.num_sequences,
                                        .num_heads = num_heads_,
                                        .latent_dim = cache_.latent_dim},
                                       device.stream);
  }

 private:
  CudaAbsorbed(const CudaKernelBench& bench, DType dtype, const Sizes& sizes)
      : bench_(&bench),
        sizes_(sizes),
        num_heads_(bench.options.config.num_attention_heads),
        cache_{.dtype = dtype,
               .rope_dtype = DType::kBFloat16,
               .latent_dim = bench.options.config.kv_lora_rank,
               .rope_dim = bench.options.config.qk_rope_head_dim,
               .block_size = kCudaBlockSize},
        row_bytes_(kernels::latent_row_bytes(dtype, cache_.latent_dim, cache_.rope_dim)) {}

  int64_t pages_per_sequence() const { return ceil_div(sizes_.num_keys, kCudaBlockSize); }
  int64_t pages_per_copy() const { return sizes_.num_sequences * pages_per_sequence(); }

  Status fill_cache() {
    const int64_t page_bytes = kCudaBlockSize * row_bytes_;
    num_copies_ = std::max<int64_t>(bench_->pool_bytes / (pages_per_copy() * page_bytes), 1);
    const int64_t num_pages = num_copies_ * pages_per_copy();
    FATHOM_ASSIGN_OR_RETURN(rows_, cuda_memory(bench_->device, num_pages * page_bytes));
    cache_.data = rows_.data();
    // Every page has the same rows.
    std::vector<std::byte> page(static_cast<size_t>(page_bytes));
    fill_latent_rows(cache_, page.data(), {0, kCudaBlockSize});
    std::vector<int32_t> pages;
    for (int64_t i = 0; i < num_pages; ++i) {
      auto* to = static_cast<std::byte*>(rows_.data()) + i * page_bytes;
      FATHOM_RETURN_IF_ERROR(bench_->device.upload(page.data(), to, page.size(), bench_->device.stream));
      pages.push_back(static_cast<int32_t>(i));
    }
    FATHOM_ASSIGN_OR_RETURN(pages_, upload_to_cuda(bench_->device, pages));
    return ok_status();
  }

  Status plan() {
    std::vector<kernels::cuda::SplitRow> rows;
    for (int64_t i = 0; i < sizes_.num_sequences; ++i) {
      rows.push_back({static_cast<int32_t>(i), static_cast<int32_t>(i * pages_per_sequence()),
                      static_cast<int32_t>(sizes_.num_keys - 1)});
    }
    // All in one pass.
    kernels::cuda::SplitPlan plan;
    kernels::cuda::plan_splits(rows, std::numeric_limits<int32_t>::max(), plan);
    const int64_t num_results = kernels::cuda::result_room(plan, plan.passes.front());
    max_item_rows_ = plan.max_item_rows;
    const CudaDevice& device = bench_->device;
    num_items_ = static_cast<int64_t>(plan.items.size());
    const int64_t float_bytes = static_cast<int64_t>(sizeof(float));
    const int64_t heads = sizes_.num_sequences * num_heads_, split_heads = num_results * num_heads_;
    FATHOM_ASSIGN_OR_RETURN(items_, upload_to_cuda(device, plan.items));
    FATHOM_ASSIGN_OR_RETURN(results_, upload_to_cuda(device, plan.results));
    FATHOM_ASSIGN_OR_RETURN(
        q_, random_cuda_memory(device, heads * (cache_.latent_dim + cache_.rope_dim) * float_bytes,
                               DType::kFloat32));
    FATHOM_ASSIGN_OR_RETURN(out_, cuda_memory(device, split_heads * cache_.latent_dim * float_bytes));
    FATHOM_ASSIGN_OR_RETURN(max_, cuda_memory(device, split_heads * float_bytes));
    FATHOM_ASSIGN_OR_RETURN(sum_, cuda_memory(device, split_heads * float_bytes));
    FATHOM_ASSIGN_OR_RETURN(y_, cuda_memory(device, heads * cache_.latent_dim * float_bytes));
    return ok_status();
  }

  const CudaKernelBench* bench_;
  Sizes sizes_;
  int64_t num_heads_ = 0;
  kernels::LatentCacheView cache_;
  int64_t row_bytes_ = 0;
  int64_t num_copies_ = 1;
  int64_t num_items_ = 0;
  int64_t max_item_rows_ = 1;
  DeviceBuffer rows_, pages_, items_, results_, q_, out_, max_, sum_, y_;
};

}  // namespace

Result<std::vector<KernelSection>> bench_cuda_attention(const CudaKernelBench& bench) {
  std::vector<KernelSection> sections;
  const std::vector<int64_t>& contexts = bench.options.contexts;
  OperationCounts kinds;
  kinds.attention = 1;
  for (const CudaCacheFormat& format : kCudaCacheFormats) {
    FATHOM_ASSIGN_OR_RETURN(
        CudaSection section,
        CudaSection::begin(bench, {.group = KernelGroup::kAttention,
                                   .name = format.name,
                                   .kinds = kinds,
                                   .num_rows = std::size(kCudaSequences) * contexts.size()}));
    for (const int64_t num_sequences : kCudaSequences) {
      for (const int64_t num_keys : contexts) {
        FATHOM_ASSIGN_OR_RETURN(const CudaAbsorbed attention,
                                CudaAbsorbed::create(bench, format.dtype, {num_sequences, num_keys}));
        FATHOM_RETURN_IF_ERROR(
            section.add(attention.row(), [&](int64_t call) { return attention.launch(call); }));
      }
    }
    FATHOM_ASSIGN_OR_RETURN(KernelSection finished, section.finish());
    sections.push_back(std::move(finished));
  }
  return sections;
}

}  // namespace fathom
