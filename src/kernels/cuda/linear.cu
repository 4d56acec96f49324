// y = x w^T over packed panels (kernels/packed.h). A line of a panel holds, for 16 outputs, one word each of
// consecutive inputs: just what a lane of mma.sync m16n8 holds of its left operand, so that panels are the
// left operand as they lie in memory (outputs are its 16 rows) and rows of inputs the right one (8 columns).
//
// Bytes moved: the panels once a tile of rows, the inputs once a tile of panels. Few rows are bound by the
// panels' bytes, many by the tensor cores. No speed has been measured: docs/cuda.md.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/linear_work.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

using cuda::kChunkSteps;
using cuda::kProductRows;
using cuda::kStepWords;
using cuda::kStreamWarps;
using cuda::kTilePanels;
using cuda::kTileRows;
using Output = LinearParams::Output;

constexpr int kStreamThreads = kStreamWarps * kWarpLanes;

// The left operand: lines of a panel, first the line of word 0.
FATHOM_DEVICE void load_panel(const uint32_t* step_lines, uint32_t (&a)[4]) {
  const int lane = lane_index();
  const uint32_t* line = step_lines + lane % 4 * kLineWords + lane / 4;
  a[0] = line[0];
  a[1] = line[8];
  a[2] = line[4 * kLineWords];
  a[3] = line[4 * kLineWords + 8];
}

// One chunk's partial sums of a streaming block.
template <typename Products, int kPanels, int kProducts>
FATHOM_DEVICE void stream_chunk(const Launched& launched, const Work& work, int64_t panel, int64_t chunk,
                                const uint32_t* const (&rows)[kProducts],
                                typename Products::Sum (&c)[kPanels][kProducts][4]) {
  const int64_t begin = chunk * kChunkSteps;
  const int64_t limit = begin + kChunkSteps;
  const int64_t end = limit < launched.num_steps ? limit : launched.num_steps;
  for (int64_t step = begin; step < end; ++step) {
    uint32_t b[kProducts][2];
    for (int r = 0; r < kProducts; ++r) {
      const uint32_t* words = rows[r] != nullptr ? rows[r] + step * kStepWords + lane_index() % 4 : nullptr;
      b[r][0] = words != nullptr ? words[0] : 0u;
      b[r][1] = words != nullptr ? words[4] : 0u;
    }
    for (int i = 0; i < kPanels; ++i) {
      uint32_t a[4];
      load_panel(work.panels + (panel + i) * launched.panel_words + step * kStepWords * kLineWords, a);
      for (int r = 0; r < kProducts; ++r) Products::multiply(c[i][r], a, b[r]);
    }
  }
}

template <typename Products, int kPanels, int kProducts>
FATHOM_KERNEL(kStreamThreads)
stream_kernel(Launched launched) {
  using Sum = typename Products::Sum;
  const Work work = work_of_block(launched);
  const int64_t num_rows = work.num_tokens * launched.rows_per_token;
  const int64_t first_row = work.row_block * kProducts * kProductRows;
  if (first_row >= num_rows) return;
  const int64_t panel = launched.batch.linear.begin + block_x() * kPanels;
  const int lane = lane_index();
  const auto num_chunks = static_cast<int>((launched.num_steps + kChunkSteps - 1) / kChunkSteps);
  constexpr int kChunkSums = kPanels * kProducts * kWarpLanes * 4;
  SharedMemory shared;
  const SharedArray<Sum> partials = shared.take<Sum>(num_chunks * kChunkSums);

  const uint32_t* rows[kProducts];
  for (int r = 0; r < kProducts; ++r) {
    const int64_t n = first_row + r * kProductRows + lane / 4;
    rows[r] = n < num_rows ? input_row(launched, work, n) : nullptr;
  }
  for (int chunk = warp_index(); chunk < num_chunks; chunk += kStreamWarps) {
    Sum c[kPanels][kProducts][4] = {};
    stream_chunk<Products, kPanels, kProducts>(launched, work, panel, chunk, rows, c);
    for (int i = 0; i < kPanels; ++i)
      for (int r = 0; r < kProducts; ++r)
        for (int e = 0; e < 4; ++e)
          partials[chunk * kChunkSums + ((i * kProducts + r) * kWarpLanes + lane) * 4 + e] = c[i][r][e];
  }
  sync_threads();
  const int product = warp_index();
  if (product >= kProducts) return;
  Sum total[kPanels][4] = {};
  for (int chunk = 0; chunk < num_chunks; ++chunk)
    for (int i = 0; i < kPanels; ++i)
      for (int e = 0; e < 4; ++e)
        total[i][e] += partials[chunk * kChunkSums + ((i * kProducts + product) * kWarpLanes + lane) * 4 + e];
  write_product<kPanels, Sum>(launched, work, panel, first_row + product * kProductRows, total);
}

// Tiles: 2 x 2 warps, each with 2 panels and 32 rows.
constexpr int kTileThreads = 4 * kWarpLanes;
constexpr int kWarpPanels = 2;
constexpr int kWarpProducts = 4;
constexpr int kStageSteps = 4;
constexpr int kStageLines = kStageSteps * kStepWords;
constexpr int kPanelStageWords = kStageLines * kLineWords;
// Four words more than needed: the eight rows that a product reads lie in different banks.
constexpr int kRowStageWords = kStageLines + 4;
constexpr size_t kTileShared = 2 * 4 * (kTilePanels * kPanelStageWords + kTileRows * kRowStageWords);
static_assert(kTileShared <= kSharedLimit);
static_assert(kChunkSteps % kStageSteps == 0);

struct Stage {
  SharedArray<uint32_t> panels;  // [kTilePanels, kStageLines, kLineWords]
  SharedArray<uint32_t> rows;    // [kTileRows, kRowStageWords]
};

FATHOM_DEVICE int valid_bytes(int64_t words_left) {
  return words_left >= 4 ? 16 : words_left > 0 ? static_cast<int>(words_left) * 4 : 0;
}

// Begins copying a stage; what lies beyond panels, rows or inputs becomes 0.
FATHOM_DEVICE void copy_stage(const Launched& launched, const Work& work, int64_t first_panel,
                              int64_t first_row, int64_t stage, const Stage& to) {
  const LinearParams& p = launched.batch.linear;
  const int64_t num_rows = work.num_tokens * launched.rows_per_token;
  const int64_t panel_begin = stage * kPanelStageWords;
  for (int piece = thread_index(); piece < kTilePanels * kPanelStageWords / 4; piece += kTileThreads) {
    const int panel = piece / (kPanelStageWords / 4);
    const int64_t word = panel_begin + piece % (kPanelStageWords / 4) * 4;
    const bool inside = first_panel + panel < p.end && word < launched.panel_words;
    const uint32_t* from =
        inside ? work.panels + (first_panel + panel) * launched.panel_words + word : work.panels;
    copy_async_16(to.panels, piece * 4, from, inside ? 16 : 0);
  }
  const int64_t row_words = launched.num_steps * kStepWords;
  for (int piece = thread_index(); piece < kTileRows * kStageLines / 4; piece += kTileThreads) {
    const int row = piece / (kStageLines / 4);
    const int in_stage = piece % (kStageLines / 4) * 4;
    const int64_t word = stage * kStageLines + in_stage;
    const bool inside = first_row + row < num_rows && word < row_words;
    const uint32_t* from =
        inside ? input_row(launched, work, first_row + row) + word : static_cast<const uint32_t*>(p.x);
    copy_async_16(to.rows, row * kRowStageWords + in_stage, from, inside ? valid_bytes(row_words - word) : 0);
  }
  commit_copies();
}

template <typename Products>
FATHOM_DEVICE void multiply_stage(const Stage& stage, int warp_panel, int warp_row,
                                  typename Products::Sum (&c)[kWarpPanels][kWarpProducts][4]) {
  const int lane = lane_index();
  for (int step = 0; step < kStageSteps; ++step) {
    uint32_t a[kWarpPanels][4];
    for (int i = 0; i < kWarpPanels; ++i) {
      const int word =
          (warp_panel + i) * kPanelStageWords + (step * kStepWords + lane % 4) * kLineWords + lane / 4;
      a[i][0] = stage.panels[word];
      a[i][1] = stage.panels[word + 8];
      a[i][2] = stage.panels[word + 4 * kLineWords];
      a[i][3] = stage.panels[word + 4 * kLineWords + 8];
    }
    for (int r = 0; r < kWarpProducts; ++r) {
      const int word =
          (warp_row + r * kProductRows + lane / 4) * kRowStageWords + step * kStepWords + lane % 4;
      const uint32_t b[2] = {stage.rows[word], stage.rows[word + 4]};
      for (int i = 0; i < kWarpPanels; ++i) Products::multiply(c[i][r], a[i], b);
    }
  }
}

// total += c; c = 0
template <typename Sum>
FATHOM_DEVICE void close_chunk(Sum (&total)[kWarpPanels][kWarpProducts][4],
                               Sum (&c)[kWarpPanels][kWarpProducts][4]) {
  for (int i = 0; i < kWarpPanels; ++i) {
    for (int r = 0; r < kWarpProducts; ++r) {
      for (int e = 0; e < 4; ++e) {
        total[i][r][e] += c[i][r][e];
        c[i][r][e] = 0;
      }
    }
  }
}

template <typename Products, int kPanels>
FATHOM_KERNEL(kTileThreads)
tile_kernel(Launched launched) {
  using Sum = typename Products::Sum;
  const Work work = work_of_block(launched);
  const int64_t first_row = work.row_block * kTileRows;
  if (first_row >= work.num_tokens * launched.rows_per_token) return;
  const LinearParams& p = launched.batch.linear;
  const int64_t first_panel = p.begin + block_x() * kTilePanels;
  SharedMemory shared;
  const SharedArray<uint32_t> panel_room = shared.take<uint32_t>(kTilePanels * kPanelStageWords);
  const SharedArray<uint32_t> row_room = shared.take<uint32_t>(kTileRows * kRowStageWords);
  const SharedArray<uint32_t> next_panel_room = shared.take<uint32_t>(kTilePanels * kPanelStageWords);
  const SharedArray<uint32_t> next_row_room = shared.take<uint32_t>(kTileRows * kRowStageWords);
  const Stage stages[2] = {{panel_room, row_room}, {next_panel_room, next_row_room}};
  const int warp_panel = warp_index() / 2 * kWarpPanels;
  const int warp_row = warp_index() % 2 * kWarpProducts * kProductRows;
  const int64_t num_stages = (launched.num_steps + kStageSteps - 1) / kStageSteps;

  Sum total[kWarpPanels][kWarpProducts][4] = {};
  Sum c[kWarpPanels][kWarpProducts][4] = {};
  copy_stage(launched, work, first_panel, first_row, 0, stages[0]);
  for (int64_t s = 0; s < num_stages; ++s) {
    if (s + 1 < num_stages) {
      copy_stage(launched, work, first_panel, first_row, s + 1, stages[(s + 1) % 2]);
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    sync_threads();
    multiply_stage<Products>(stages[s % 2], warp_panel, warp_row, c);
    if ((s + 1) % (kChunkSteps / kStageSteps) == 0 || s + 1 == num_stages) close_chunk(total, c);
    sync_threads();
  }
  for (int i = 0; i < kWarpPanels; i += kPanels) {
    const int64_t panel = first_panel + warp_panel + i;
    if (panel >= p.end) continue;
    for (int r = 0; r < kWarpProducts; ++r) {
      Sum results[kPanels][4];
      for (int k = 0; k < kPanels; ++k)
        for (int e = 0; e < 4; ++e) results[k][e] = total[i + k][r][e];
      write_product<kPanels, Sum>(launched, work, panel, first_row + warp_row + r * kProductRows, results);
    }
  }
}

// Float32 inputs with weights of any float format, without tensor cores: a block a panel (or pair) and a
// token; 16 threads an output take every 16th line, their sums are added in order.
constexpr int kScalarThreads = 256;
constexpr int kScalarParts = kScalarThreads / static_cast<int>(kPanelRows);

FATHOM_DEVICE float panel_element(const uint32_t* panel, PanelFormat format, int64_t line, int64_t j,
                                  int64_t g) {
  if (format == PanelFormat::kFloat32) return bits_to_float(panel[line * kLineWords + j]);
  const uint32_t word = panel[line * kLineWords + j];
  const auto bits = static_cast<uint16_t>(g == 0 ? word & 0xffffu : word >> 16);
  return format == PanelFormat::kBFloat16 ? bf16_to_float(bits) : half_to_float(bits);
}

template <int kPanels>
FATHOM_KERNEL(kScalarThreads)
scalar_kernel(Launched launched) {
  const LinearParams& p = launched.batch.linear;
  const Work work = work_of_block(launched);
  const int64_t token = work.row_block;
  if (token >= work.num_tokens) return;
  const int64_t panel = p.begin + block_x() * kPanels;
  const auto* x = reinterpret_cast<const float*>(input_row(launched, work, token));
  const int64_t group = p.format == PanelFormat::kFloat32 ? 1 : 2;
  const int j = thread_index() % static_cast<int>(kPanelRows);
  const int part = thread_index() / static_cast<int>(kPanelRows);
  SharedMemory shared;
  const SharedArray<float> parts = shared.take<float>(kPanels * kScalarThreads);
  for (int i = 0; i < kPanels; ++i) {
    const uint32_t* lines = work.panels + (panel + i) * launched.panel_words;
    float sum = 0;
    for (int64_t line = part; line * group < p.num_inputs; line += kScalarParts)
      for (int64_t g = 0; g < group && line * group + g < p.num_inputs; ++g)
        sum += x[line * group + g] * panel_element(lines, p.format, line, j, g);
    parts[i * kScalarThreads + thread_index()] = sum;
  }
  sync_threads();
  if (part != 0) return;
  float values[kPanels];
  for (int i = 0; i < kPanels; ++i) {
    values[i] = 0;
    for (int k = 0; k < kScalarParts; ++k)
      values[i] += parts[i * kScalarThreads + k * static_cast<int>(kPanelRows) + j];
  }
  finish<kPanels>(launched, work, panel, j, token, values);
}

int64_t blocks(int64_t count, int64_t of) { return (count + of - 1) / of; }

int64_t num_items(const cuda::LinearBatchParams& batch) {
  return batch.tiles != nullptr ? batch.num_tiles : batch.num_groups;
}
int64_t max_item_tokens(const cuda::LinearBatchParams& batch) {
  return batch.tiles != nullptr ? batch.tile_tokens : batch.linear.num_tokens / batch.num_groups;
}

template <typename Products, int kPanels>
int launch_products(Launched& launched, int64_t max_rows, void* stream) {
  const cuda::LinearBatchParams& batch = launched.batch;
  const int64_t num_panels = batch.linear.end - batch.linear.begin;
  const cuda::LinearPlan plan = cuda::plan_linear(max_rows, launched.num_steps, kPanels, kSharedLimit);
  if (plan.cut == cuda::LinearCut::kStream) {
    launched.blocks_of_item = 1;
    const LaunchShape shape{.blocks_x = num_panels / kPanels,
                            .blocks_y = num_items(batch),
                            .threads = kStreamThreads,
                            .shared_bytes = plan.stream_shared_bytes,
                            .stream = stream};
    return plan.stream_products == 1 ? launch(stream_kernel<Products, kPanels, 1>, shape, launched)
                                     : launch(stream_kernel<Products, kPanels, 2>, shape, launched);
  }
  launched.blocks_of_item = blocks(max_rows, kTileRows);
  return launch(tile_kernel<Products, kPanels>,
                {.blocks_x = blocks(num_panels, kTilePanels),
                 .blocks_y = num_items(batch) * launched.blocks_of_item,
                 .threads = kTileThreads,
                 .shared_bytes = kTileShared,
                 .stream = stream},
                launched);
}

template <int kPanels>
int launch_linear(Launched& launched, void* stream) {
  const cuda::LinearBatchParams& batch = launched.batch;
  const LinearParams& p = batch.linear;
  const int64_t max_tokens = max_item_tokens(batch);
  const int64_t max_rows = max_tokens * launched.rows_per_token;
  if (max_rows == 0) return 0;
  if (p.format == PanelFormat::kInt8)
    return launch_products<Int8Products, kPanels>(launched, max_rows, stream);
  if (batch.float16_inputs) return launch_products<Float16Products, kPanels>(launched, max_rows, stream);
  if (p.form == InputForm::kBFloat16)
    return launch_products<BFloat16Products, kPanels>(launched, max_rows, stream);
  launched.blocks_of_item = max_tokens;
  return launch(scalar_kernel<kPanels>,
                {.blocks_x = (p.end - p.begin) / kPanels,
                 .blocks_y = num_items(batch) * max_tokens,
                 .threads = kScalarThreads,
                 .shared_bytes = kPanels * kScalarThreads * sizeof(float),
                 .stream = stream},
                launched);
}

}  // namespace

int linear(const cuda::LinearBatchParams& batch, void* stream) {
  const LinearParams& p = batch.linear;
  const bool is_int8 = p.format == PanelFormat::kInt8;
  const int64_t element_bytes = batch.float16_inputs ? 2 : input_bytes(p.form);
  Launched launched{};
  launched.batch = batch;
  launched.panel_words = panel_bytes(p.num_inputs, p.format) / 4;
  launched.row_words = p.x_stride * element_bytes / 4;
  launched.num_steps = launched.panel_words / kLineWords / kStepWords;
  launched.rows_per_token = is_int8 ? static_cast<int>(rows_per_token(p.form)) : 1;
  launched.has_x_scales = is_int8 || batch.float16_inputs || batch.bfloat16_scales;
  launched.has_weight_scales = is_int8;
  return p.output == Output::kSiluMul ? launch_linear<2>(launched, stream)
                                      : launch_linear<1>(launched, stream);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
