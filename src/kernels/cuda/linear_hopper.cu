// linear.cu's products by wgmma (compute capability 9.0). Panels are the left operand as there: warp w of a
// warpgroup holds 16 rows of it in registers, read from shared memory, and rows of inputs are the right one
// in shared memory (hopper_grid.h). Inputs, panels and chunks pass through stages of 4 steps, copied by all
// threads while earlier stages are multiplied; one stage's products are running when the next one's begin.
//
// Bytes and operations, T rows, O outputs, K inputs of 2 bytes: a stage of a 128 x 192 tile (outputs x rows)
// is 40 KiB and 768 cycles of the tensor cores, so 53 bytes a cycle and multiprocessor from L2; of a 128 x
// 128 tile 64. Few rows move K O 2 bytes of panels from memory at 20 bytes a cycle and multiprocessor (4.8
// TB/s): 16 KiB in a stage of 4 panels take 400 cycles, their products with 64 columns 128. Nothing was
// measured.
#include "kernels/cuda/hopper_outputs.h"
#include "kernels/cuda/kernels.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

struct BFloat16Operands {
  using Sum = float;
  static constexpr bool kInChunks = true;
  template <int kSums>
  static FATHOM_DEVICE void multiply(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
    products_bf16(d, a, b, accumulate);
  }
};
struct Float16Operands {
  using Sum = float;
  static constexpr bool kInChunks = true;
  template <int kSums>
  static FATHOM_DEVICE void multiply(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
    products_fp16(d, a, b, accumulate);
  }
};
struct Int8Operands {
  using Sum = int32_t;
  static constexpr bool kInChunks = false;
  template <int kSums>
  static FATHOM_DEVICE void multiply(int32_t (&d)[kSums], const uint32_t (&a)[4], uint64_t b,
                                     bool accumulate) {
    products_int8(d, a, b, accumulate);
  }
};

// The left operand of kHalfSteps steps. Two of them take turns: while products read one the other is loaded.
constexpr int kHalfSteps = kStageSteps / 2;
using Fragments = uint32_t[kHalfSteps][4];

// boxes: the stage's; first: the word of the lane's line of step 0 in each of its two rows.
FATHOM_DEVICE void load_fragments(const SharedArray<uint32_t>& stages, int boxes, const int (&first)[2],
                                  int first_step, Fragments& a) {
  FATHOM_UNROLL
  for (int step = 0; step < kHalfSteps; ++step) {
    FATHOM_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int line = (first_step + step) * kStepWords + i / 2 * 4;
      a[step][i] = stages[boxes + first[i % 2] + line * kLineWords];
    }
  }
}
FATHOM_DEVICE void hold_fragments(Fragments& a) {
  FATHOM_UNROLL
  for (int step = 0; step < kHalfSteps; ++step) hold(a[step]);
}

// The products of kHalfSteps steps with all columns, begun and committed.
template <typename Operands, int kSums>
FATHOM_DEVICE void begin_products(typename Operands::Sum (&c)[kSums], const Fragments& a, uint64_t columns,
                                  bool accumulate) {
  fence_products();
  FATHOM_UNROLL
  for (int step = 0; step < kHalfSteps; ++step)
    Operands::multiply(c, a[step], columns + static_cast<uint64_t>(step) * kDescriptorStep,
                       accumulate || step > 0);
  commit_products();
}

// total += the sums of the chunks that end with a round
template <typename Shape, typename Sum>
FATHOM_DEVICE void close_chunks(const TileBlock& block, const TileRooms<Shape, Sum>& rooms, int round,
                                const Sum (&c)[Shape::kProductSums], Sum (&total)[Shape::kRowSums]) {
  if constexpr (Shape::kSlots == 1) {
    FATHOM_UNROLL
    for (int i = 0; i < Shape::kRowSums; ++i) total[i] += c[i];
  } else {
    const int slot = warp_index() / Shape::kSpan, lane = lane_index();
    FATHOM_UNROLL
    for (int s = 0; s < Shape::kSlots; ++s) {
      if (s != slot) continue;
      FATHOM_UNROLL
      for (int i = 0; i < Shape::kRowSums; ++i)
        rooms.partials[(warp_index() * Shape::kRowSums + i) * kWarpLanes + lane] = c[s * Shape::kRowSums + i];
    }
    sync_threads();
    const int first_chunk = round / kChunkStages * Shape::kSlots;
    FATHOM_UNROLL
    for (int s = 0; s < Shape::kSlots; ++s) {
      if (first_chunk + s >= block.num_chunks) continue;
      const int warp = s * Shape::kSpan + warp_index() % Shape::kSpan;
      FATHOM_UNROLL
      for (int i = 0; i < Shape::kRowSums; ++i)
        total[i] += rooms.partials[(warp * Shape::kRowSums + i) * kWarpLanes + lane];
    }
  }
}

// The sums of all stages, in total, of int8 in c. Half a round's products are running when the next half's
// begin.
template <typename Operands, typename Shape>
FATHOM_DEVICE void multiply_rounds(const Launched& launched, const TileBlock& block,
                                   const TileRooms<Shape, typename Operands::Sum>& rooms,
                                   const LaneRows& rows, typename Operands::Sum (&c)[Shape::kProductSums],
                                   typename Operands::Sum (&total)[Shape::kRowSums]) {
  const int lane = lane_index();
  int lane_words[2];
  for (int i = 0; i < 2; ++i)
    lane_words[i] = Shape::kBoxes + rows.box[i] * kBoxWords + box_word(lane % 4, rows.output[i]);
  Fragments first = {}, second = {};
  hold(c);  // else the compiler writes zeros to it where products may be running
  for (int i = 0; i < Shape::kAhead; ++i) copy_round(launched, block, rooms, i);
  for (int round = 0; round < block.num_rounds; ++round) {
    const int ring = round % Shape::kStages;
    wait_copies<Shape::kAhead - 1>();
    fence_async_proxy();
    sync_threads();
    const uint64_t columns = rows_descriptor(
        shared_address(rooms.stages, ring * Shape::kColumns * kSwizzleRowWords), kSwizzleBytes);
    const int boxes = ring * Shape::kWarps * kBoxWords;
    load_fragments(rooms.stages, boxes, lane_words, 0, first);
    begin_products<Operands>(c, first, columns, (Operands::kInChunks ? round % kChunkStages : round) != 0);
    // All threads have waited for the products of the round before the last, whose stage this takes.
    copy_round(launched, block, rooms, round + Shape::kAhead);
    wait_products<1>();
    hold_fragments(second);
    load_fragments(rooms.stages, boxes, lane_words, kHalfSteps, second);
    begin_products<Operands>(c, second, columns + kHalfSteps * kDescriptorStep, true);
    if (Operands::kInChunks && (round + 1) % kChunkStages == 0) {
      wait_products<0>();
      hold(c);
      close_chunks<Shape>(block, rooms, round, c, total);
    } else {
      wait_products<1>();
    }
    hold_fragments(first);
  }
  wait_products<0>();
  hold_fragments(second);
  hold(c);
  if (Operands::kInChunks && block.num_rounds % kChunkStages != 0)
    close_chunks<Shape>(block, rooms, block.num_rounds - 1, c, total);
}

template <typename Operands, typename Shape>
FATHOM_KERNEL(Shape::kThreads)
hopper_kernel(Launched launched) {
  begin_kernel();
  using Sum = typename Operands::Sum;
  const LinearParams& p = launched.batch.linear;
  const Work work = work_of_block(launched);
  const int64_t first_row = work.row_block * Shape::kRows;
  if (first_row >= work.num_tokens * launched.rows_per_token) return;
  const auto num_stages = static_cast<int>((launched.num_steps + kStageSteps - 1) / kStageSteps);
  const int64_t first_panel = p.begin + block_x() * Shape::kPanels;
  const int64_t panels_left = p.end - first_panel;
  const TileBlock block{work,
                        work.panels + first_panel * launched.panel_words,
                        panels_left < Shape::kPanels ? static_cast<int>(panels_left) : Shape::kPanels,
                        first_panel,
                        first_row,
                        (num_stages + kChunkStages - 1) / kChunkStages,
                        rounds_of_stages<Shape>(num_stages)};
  SharedMemory shared;
  const auto stages = shared.take<uint32_t>(Shape::kStageWords);
  const auto places = shared.take<TokenPlace>(Shape::kRows);
  const auto sources = shared.take<uint32_t>(Shape::kRows);
  const auto partials = shared.take<Sum>(Shape::kPartialSums);
  const TileRooms<Shape, Sum> rooms{stages, places, sources, partials};
  describe_tokens(launched, block, rooms);
  sync_threads();

  const bool is_paired = p.output == LinearParams::Output::kSiluMul;
  Sum c[Shape::kProductSums] = {};
  Sum total[Shape::kRowSums] = {};
  const LaneRows rows = rows_of_lane(is_paired);
  multiply_rounds<Operands, Shape>(launched, block, rooms, rows, c, total);
  sync_threads();
  if (warp_index() % kWarpgroupWarps < Shape::kSpan) {  // other warps' sums are in these
    if constexpr (Operands::kInChunks) {
      store_sums(rooms, rows, total);
    } else {
      store_sums(rooms, rows, c);
    }
  }
  sync_threads();
  write_outputs(launched, block, rooms, is_paired);
}

template <typename Operands, HopperTile kTile>
int launch_hopper(Launched launched, const cuda::LinearSizes& sizes, void* stream) {
  using Shape = TileShape<kTile>;
  launched.blocks_of_item = num_blocks(sizes.max_rows, Shape::kRows);
  return launch(hopper_kernel<Operands, Shape>,
                {.blocks_x = num_blocks(sizes.num_panels, Shape::kPanels),
                 .blocks_y = sizes.num_items * launched.blocks_of_item,
                 .threads = Shape::kThreads,
                 .shared_bytes = shared_bytes<Shape>(),
                 .stream = stream,
                 .shared_limit = kHopperSharedBytes},
                launched);
}

template <typename Operands>
int launch_float(const Launched& launched, const cuda::LinearSizes& sizes, HopperTile tile, void* stream) {
  if (tile == cuda::kStream8) return launch_hopper<Operands, cuda::kStream8>(launched, sizes, stream);
  if (tile == cuda::kStream16) return launch_hopper<Operands, cuda::kStream16>(launched, sizes, stream);
  if (tile == cuda::kPairStream8) return launch_hopper<Operands, cuda::kPairStream8>(launched, sizes, stream);
  if (tile == cuda::kPairStream16)
    return launch_hopper<Operands, cuda::kPairStream16>(launched, sizes, stream);
  if (tile == cuda::kStream32) return launch_hopper<Operands, cuda::kStream32>(launched, sizes, stream);
  if (tile == cuda::kTile64) return launch_hopper<Operands, cuda::kTile64>(launched, sizes, stream);
  if (tile == cuda::kTile128) return launch_hopper<Operands, cuda::kTile128>(launched, sizes, stream);
  return launch_hopper<Operands, cuda::kFloatTile192>(launched, sizes, stream);
}

int launch_int8(const Launched& launched, const cuda::LinearSizes& sizes, HopperTile tile, void* stream) {
  if (tile == cuda::kTile64) return launch_hopper<Int8Operands, cuda::kTile64>(launched, sizes, stream);
  if (tile == cuda::kTile128) return launch_hopper<Int8Operands, cuda::kTile128>(launched, sizes, stream);
  return launch_hopper<Int8Operands, cuda::kInt8Tile256>(launched, sizes, stream);
}

}  // namespace

int linear_hopper_tile(const cuda::LinearBatchParams& batch, HopperTile tile, void* stream) {
  const Launched launched = describe_launch(batch);
  const cuda::LinearSizes sizes = linear_sizes(launched);
  if (sizes.max_rows == 0) return 0;
  if (sizes.exact_sums) return launch_int8(launched, sizes, tile, stream);
  return batch.float16_inputs ? launch_float<Float16Operands>(launched, sizes, tile, stream)
                              : launch_float<BFloat16Operands>(launched, sizes, tile, stream);
}

int linear_hopper(const cuda::LinearBatchParams& batch, void* stream) {
  const LinearParams& p = batch.linear;
  const cuda::LinearSizes sizes = linear_sizes(describe_launch(batch));
  const bool is_int8 = p.format == PanelFormat::kInt8 && sizes.max_rows > cuda::kMaxMmaSyncRows;
  const bool is_float = !is_integer(p.format) && (batch.float16_inputs || p.form == InputForm::kBFloat16);
  if (!is_int8 && !is_float) return linear(batch, stream);
  return linear_hopper_tile(batch, cuda::plan_hopper(sizes), stream);
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
