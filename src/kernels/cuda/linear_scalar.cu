// Float32 inputs with weights of any float format, without tensor cores: a block a panel (or pair) and 8
// tokens, which share each weight that is read; 16 threads an output take every 16th line, their sums are
// added in order. Bound by arithmetic: two multiply-adds' instructions and a load from L1 a weight and token.
#include "kernels/cuda/linear_work.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

constexpr int kScalarThreads = 256;
constexpr int kScalarParts = kScalarThreads / static_cast<int>(kPanelRows);
constexpr int kScalarTokens = 8;

FATHOM_DEVICE float panel_element(uint32_t word, PanelFormat format, int64_t g) {
  if (format == PanelFormat::kFloat32) return bits_to_float(word);
  const auto bits = static_cast<uint16_t>(g == 0 ? word & 0xffffu : word >> 16);
  return format == PanelFormat::kBFloat16 ? bf16_to_float(bits) : half_to_float(bits);
}

// One thread's part of one panel's sums.
FATHOM_DEVICE void add_part(const LinearParams& p, const uint32_t* lines, int part, int output,
                            const float* const (&x)[kScalarTokens], float (&sums)[kScalarTokens]) {
  const int64_t group = p.format == PanelFormat::kFloat32 ? 1 : 2;
  for (int64_t line = part; line * group < p.num_inputs; line += kScalarParts) {
    const uint32_t word = lines[line * kLineWords + output];
    for (int64_t g = 0; g < group && line * group + g < p.num_inputs; ++g) {
      const float weight = panel_element(word, p.format, g);
      FATHOM_UNROLL
      for (int t = 0; t < kScalarTokens; ++t) sums[t] += x[t][line * group + g] * weight;
    }
  }
}

template <int kPanels>
FATHOM_KERNEL(kScalarThreads)
scalar_kernel(Launched launched) {
  begin_kernel();
  const LinearParams& p = launched.batch.linear;
  const Work work = work_of_block(launched);
  const int64_t first_token = work.row_block * kScalarTokens;
  if (first_token >= work.num_tokens) return;
  const int64_t panel = p.begin + block_x() * kPanels;
  const int output = thread_index() % static_cast<int>(kPanelRows);
  const int part = thread_index() / static_cast<int>(kPanelRows);
  // Tokens beyond the last one repeat it.
  const float* x[kScalarTokens];
  FATHOM_UNROLL
  for (int t = 0; t < kScalarTokens; ++t) {
    const int64_t token = first_token + t < work.num_tokens ? first_token + t : work.num_tokens - 1;
    x[t] = reinterpret_cast<const float*>(input_row(launched, work, token));
  }
  SharedMemory shared;
  const SharedArray<float> parts = shared.take<float>(kPanels * kScalarTokens * kScalarThreads);
  FATHOM_UNROLL
  for (int i = 0; i < kPanels; ++i) {
    float sums[kScalarTokens] = {};
    add_part(p, work.panels + (panel + i) * launched.panel_words, part, output, x, sums);
    FATHOM_UNROLL
    for (int t = 0; t < kScalarTokens; ++t)
      parts[(i * kScalarTokens + t) * kScalarThreads + thread_index()] = sums[t];
  }
  sync_threads();
  if (part >= kScalarTokens) return;
  const int token = part;
  float values[kPanels];
  for (int i = 0; i < kPanels; ++i) {
    values[i] = 0;
    for (int k = 0; k < kScalarParts; ++k)
      values[i] +=
          parts[(i * kScalarTokens + token) * kScalarThreads + k * static_cast<int>(kPanelRows) + output];
  }
  finish<kPanels>(launched, work, panel, output, first_token + token, values);
}

}  // namespace

int launch_scalar(Launched launched, void* stream) {
  const cuda::LinearBatchParams& batch = launched.batch;
  const LinearParams& p = batch.linear;
  const bool paired = p.output == LinearParams::Output::kSiluMul;
  const int panels = paired ? 2 : 1;
  launched.blocks_of_item = num_blocks(launched.item_tokens, kScalarTokens);
  const LaunchShape shape{
      .blocks_x = (p.end - p.begin) / panels,
      .blocks_y = num_items(batch) * launched.blocks_of_item,
      .threads = kScalarThreads,
      .shared_bytes = static_cast<size_t>(panels) * kScalarTokens * kScalarThreads * sizeof(float),
      .stream = stream};
  return paired ? launch(scalar_kernel<2>, shape, launched) : launch(scalar_kernel<1>, shape, launched);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
