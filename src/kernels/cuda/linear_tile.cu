// The tile cut: a block takes a tile of panels and rows. Stages of both come through shared memory, the
// copies of the next ones under way while a stage is multiplied; each warp has a part of the tile in
// registers.
//
// Bytes: the panels once a tile of rows, the rows once a tile of panels (from L2). Of the large tile's 64 KiB
// operand bytes a step and SM (8 warps of 64 x 32) shared memory gives 128 a cycle, 24 cycles for products
// that take about 50. Tiles with few rows are bound by the panels' bytes: their blocks are small, so that
// several share an SM.
#include "kernels/cuda/linear_operands.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

// kStages: of 12, 16 and 32 KiB.
template <int kPanelsOfTile, int kRowsOfTile, int kPanelsOfWarp, int kProductsOfWarp, int kStagesOfRing,
          int kBlocksOfSm>
struct TileShape {
  static constexpr int kPanels = kPanelsOfTile;
  static constexpr int kRows = kRowsOfTile;
  static constexpr int kWarpPanels = kPanelsOfWarp;
  static constexpr int kWarpProducts = kProductsOfWarp;
  static constexpr int kStages = kStagesOfRing;
  static constexpr int kSmBlocks = kBlocksOfSm;  // for which there are to be registers
  static constexpr int kWarpsOfRows = kRows / kProductRows / kWarpProducts;
  static constexpr int kThreads = kPanels / kWarpPanels * kWarpsOfRows * kWarpLanes;
};
using SmallTile = TileShape<4, 32, 2, 2, 4, 4>;
using MediumTile = TileShape<4, 64, 2, 4, 4, 3>;
using LargeTile = TileShape<8, 128, 4, 4, 3, 1>;

template <typename Format, typename Tile>
constexpr int kTileStageWords = Tile::kPanels* Format::Panels::kStageRoom + Tile::kRows* kRowStageWords;

template <typename Format, typename Tile>
struct TileProduct {
  using Panels = typename Format::Panels;
  using Sum = typename Format::Sum;
  using Sums = Sum[Tile::kWarpPanels][Tile::kWarpProducts][4];
  using Rows = RowCopies<Tile::kThreads, Tile::kRows>;
  static constexpr int kRowsAt = Tile::kPanels * Panels::kStageRoom;
  static constexpr int kPanelThreads = Tile::kThreads / Tile::kPanels;  // that copy a panel

  const Launched& launched;
  const uint32_t* panels;  // of the tile's first
  int num_panels;          // of the tile that there are
  int num_rows;            // likewise
  const Rows& rows;
  SharedArray<uint32_t> room;

  FATHOM_DEVICE int slot(int index) const { return index * kTileStageWords<Format, Tile>; }
  FATHOM_DEVICE int first_warp_panel() const { return warp_index() / Tile::kWarpsOfRows * Tile::kWarpPanels; }
  FATHOM_DEVICE int first_warp_row() const {
    return warp_index() % Tile::kWarpsOfRows * Tile::kWarpProducts * kProductRows;
  }

  FATHOM_DEVICE void copy(int stage, int num_stages, int index) const {
    if (stage < num_stages) {
      const int panel = thread_index() / kPanelThreads;
      const bool inside = panel < num_panels;
      const int words = stage * Panels::kStageWords;
      copy_panel<Panels, kPanelThreads>(room, slot(index) + panel * Panels::kStageRoom,
                                        panels + (inside ? int64_t{panel} * launched.panel_words : 0) + words,
                                        inside ? launched.panel_words - words : 0,
                                        thread_index() % kPanelThreads);
      rows.copy(room, slot(index) + kRowsAt, stage * kRowStageWords, Tile::kRows, thread_index());
    }
    commit_copies();
  }

  // Products of rows that are not there are left out.
  FATHOM_DEVICE void multiply(int index, Sums& c) const {
    FATHOM_UNROLL
    for (int step = 0; step < kStageSteps; ++step) {
      uint32_t b[Tile::kWarpProducts / 2][4];
      FATHOM_UNROLL
      for (int r = 0; r < Tile::kWarpProducts / 2; ++r)
        load_rows(b[r], room, slot(index) + kRowsAt, first_warp_row() + r * 2 * kProductRows + address_row(),
                  step);
      FATHOM_UNROLL
      for (int i = 0; i < Tile::kWarpPanels; ++i) {
        uint32_t a[4];
        Panels::load(a, room, slot(index) + (first_warp_panel() + i) * Panels::kStageRoom, step);
        FATHOM_UNROLL
        for (int r = 0; r < Tile::kWarpProducts; ++r) {
          const uint32_t own[2] = {b[r / 2][r % 2 * 2], b[r / 2][r % 2 * 2 + 1]};
          if (first_warp_row() + r * kProductRows < num_rows) Format::Products::multiply(c[i][r], a, own);
        }
      }
    }
  }

  // finish_chunk() after each chunk of stages, and after the last one.
  template <typename FinishChunk>
  FATHOM_DEVICE void run(Sums& c, const FinishChunk& finish_chunk) const {
    const int num_stages = (launched.num_steps + kStageSteps - 1) / kStageSteps;
    for (int i = 0; i + 1 < Tile::kStages; ++i) copy(i, num_stages, i);
    for (int stage = 0, index = 0; stage < num_stages; ++stage) {
      wait_copies<Tile::kStages - 2>();
      sync_threads();
      copy(stage + Tile::kStages - 1, num_stages, index > 0 ? index - 1 : Tile::kStages - 1);
      multiply(index, c);
      index = index + 1 < Tile::kStages ? index + 1 : 0;
      if ((stage + 1) % cuda::kChunkStages == 0 || stage + 1 == num_stages) finish_chunk();
    }
    wait_copies<0>();
  }
};

// Float sums of a chunk go to a total. Sums of integers are exact: they stay where they are.
template <int kPanels, int kProducts>
struct ChunkTotals {
  float total[kPanels][kProducts][4] = {};
  FATHOM_DEVICE void add(float (&c)[kPanels][kProducts][4]) {
    FATHOM_UNROLL
    for (int i = 0; i < kPanels; ++i)
      for (int r = 0; r < kProducts; ++r)
        for (int e = 0; e < 4; ++e) {
          total[i][r][e] += c[i][r][e];
          c[i][r][e] = 0;
        }
  }
};

template <int kPanelsOfOutput, int kPanels, int kProducts, typename Sum>
FATHOM_DEVICE void write_tile(const Launched& launched, const Work& work, int64_t first_panel,
                              int64_t first_row, const Sum (&total)[kPanels][kProducts][4]) {
  FATHOM_UNROLL
  for (int i = 0; i < kPanels; i += kPanelsOfOutput) {
    if (first_panel + i >= launched.batch.linear.end) continue;
    FATHOM_UNROLL
    for (int r = 0; r < kProducts; ++r) {
      Sum results[kPanelsOfOutput][4];
      FATHOM_UNROLL
      for (int k = 0; k < kPanelsOfOutput; ++k)
        for (int e = 0; e < 4; ++e) results[k][e] = total[i + k][r][e];
      write_product<kPanelsOfOutput, Sum>(launched, work, first_panel + i, first_row + r * kProductRows,
                                          results);
    }
  }
}

template <typename Format, typename Tile>
FATHOM_KERNEL(Tile::kThreads, Tile::kSmBlocks)
tile_kernel(Launched launched) {
  begin_kernel();
  using Product = TileProduct<Format, Tile>;
  const Work work = work_of_block(launched);
  const int64_t first_row = work.row_block * Tile::kRows;
  const auto rows_left = static_cast<int>(work.num_tokens * launched.rows_per_token - first_row);
  if (rows_left <= 0) return;
  const LinearParams& p = launched.batch.linear;
  const int64_t first_panel = p.begin + block_x() * Tile::kPanels;
  const int64_t panels_left = p.end - first_panel;
  SharedMemory shared;
  const typename Product::Rows rows(launched, work, first_row, rows_left, thread_index());
  const Product product{launched,
                        work.panels + first_panel * launched.panel_words,
                        static_cast<int>(panels_left < Tile::kPanels ? panels_left : Tile::kPanels),
                        rows_left < Tile::kRows ? rows_left : Tile::kRows,
                        rows,
                        shared.take<uint32_t>(Tile::kStages * kTileStageWords<Format, Tile>)};
  const auto write = [&](const typename Product::Sums& total) {
    const int64_t panel = first_panel + product.first_warp_panel();
    const int64_t row = first_row + product.first_warp_row();
    if (p.output == LinearParams::Output::kSiluMul) {
      write_tile<2>(launched, work, panel, row, total);
    } else {
      write_tile<1>(launched, work, panel, row, total);
    }
  };
  typename Product::Sums c = {};
  if constexpr (Format::kExactSums) {
    product.run(c, [] {});
    write(c);
  } else {
    ChunkTotals<Tile::kWarpPanels, Tile::kWarpProducts> totals;
    product.run(c, [&] { totals.add(c); });
    write(totals.total);
  }
}

template <typename Format, typename Tile>
int launch_shape(Launched launched, void* stream) {
  const cuda::LinearBatchParams& batch = launched.batch;
  constexpr size_t kSharedBytes = size_t{4} * Tile::kStages * kTileStageWords<Format, Tile>;
  static_assert(kSharedBytes <= kMaxSharedBytes);
  launched.blocks_of_item = num_blocks(int64_t{launched.item_tokens} * launched.rows_per_token, Tile::kRows);
  return launch(tile_kernel<Format, Tile>,
                {.blocks_x = num_blocks(batch.linear.end - batch.linear.begin, Tile::kPanels),
                 .blocks_y = num_items(batch) * launched.blocks_of_item,
                 .threads = Tile::kThreads,
                 .shared_bytes = kSharedBytes,
                 .stream = stream},
                launched);
}

}  // namespace

int launch_tile(const Launched& launched, cuda::TileSize size, void* stream) {
  return with_format(launched.batch, [&]<typename Format>(Format) {
    if (size == cuda::TileSize::kLarge) return launch_shape<Format, LargeTile>(launched, stream);
    if (size == cuda::TileSize::kMedium) return launch_shape<Format, MediumTile>(launched, stream);
    return launch_shape<Format, SmallTile>(launched, stream);
  });
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
