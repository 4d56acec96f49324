// The streaming cut: up to 16 rows. Every warp reads a part of one panel's inputs, a stage after the other,
// through a ring in shared memory of its own, so that no warp waits for another until all sums are taken.
//
// Bytes: each panel once, rows of inputs once a panel (from L2): at one row W8A8 moves 1 byte for 2
// operations, so that memory bounds it. An SM gets 512 bytes of panels, a step, in 25 cycles of 4.8 TB/s, and
// spends about 12 warp instructions on them of the 100 it can issue; int4 272 bytes in 14 cycles, and about
// 32 of 54.
#include "kernels/cuda/linear_operands.h"

namespace fathom::kernels::FATHOM_CUDA_NAMESPACE {
namespace {

constexpr int kStreamThreads = cuda::kStreamWarps * kWarpLanes;

struct StreamLaunched {
  Launched launched;
  cuda::StreamPlan plan;
};

// Places in a warp's sequence of stages: every splits-th unit of the panel. What is copied next
template <typename Panels>
struct CopyCursor {
  const uint32_t* panel;
  int words_left;  // of the panel
  int row_word = 0;
  int in_unit = 0;
  FATHOM_DEVICE void skip(int stages) {
    panel += stages * Panels::kStageWords;
    words_left -= stages * Panels::kStageWords;
    row_word += stages * kRowStageWords;
  }
  FATHOM_DEVICE void advance(const cuda::StreamPlan& plan) {
    skip(1);
    if (++in_unit < plan.unit_stages) return;
    in_unit = 0;
    skip((plan.splits - 1) * plan.unit_stages);
  }
};
// and what is multiplied next.
struct StageCursor {
  int unit;
  int stage;
  int in_unit = 0;
  FATHOM_DEVICE void advance(const cuda::StreamPlan& plan) {
    ++stage;
    if (++in_unit < plan.unit_stages) return;
    in_unit = 0;
    unit += plan.splits;
    stage += (plan.splits - 1) * plan.unit_stages;
  }
};

template <int kProducts>
using StreamRows = RowCopies<kWarpLanes, kProducts * kProductRows>;

// One warp's part of one panel.
template <typename Format, int kProducts>
struct PanelStream {
  using Panels = typename Format::Panels;
  static constexpr int kStages = cuda::stream_stages(kProducts);

  const StreamLaunched& all;
  const StreamRows<kProducts>& rows;
  SharedArray<uint32_t> room;
  int ring;         // of this warp in room
  int stage_words;  // panel and rows
  int num_stages;

  // Begins copying a stage to room[slot]; beyond the last stage there is nothing to copy.
  FATHOM_DEVICE void copy(CopyCursor<Panels>& from, int slot) const {
    if (from.words_left > 0) {
      copy_panel<Panels, kWarpLanes>(room, slot, from.panel, from.words_left, lane_index());
      rows.copy(room, slot + Panels::kStageRoom, from.row_word, all.plan.rows, lane_index());
    }
    commit_copies();
    from.advance(all.plan);
  }

  // Rows beyond those that are staged repeat the last one: their results are not written.
  FATHOM_DEVICE void multiply(int slot, typename Format::Sum (&c)[kProducts][4]) const {
    const int row = kProducts == 1 ? lane_index() & 7 : address_row();
    const int staged_row = row < all.plan.rows ? row : all.plan.rows - 1;
    FATHOM_UNROLL
    for (int step = 0; step < kStageSteps; ++step) {
      uint32_t a[4], b[4];
      Panels::load(a, room, slot, step);
      load_rows(b, room, slot + Panels::kStageRoom, staged_row, step);
      FATHOM_UNROLL
      for (int r = 0; r < kProducts; ++r) {
        const uint32_t own[2] = {b[2 * r], b[2 * r + 1]};
        Format::Products::multiply(c[r], a, own);
      }
    }
  }

  // finish_unit(unit, c) takes each unit's sums.
  template <typename FinishUnit>
  FATHOM_DEVICE void run(const uint32_t* panel, int split, const FinishUnit& finish_unit) const {
    StageCursor done{split, split * all.plan.unit_stages};
    CopyCursor<Panels> next{panel, all.launched.panel_words};
    next.skip(done.stage);
    const int end = ring + kStages * stage_words;
    int free_slot = ring;
    for (; free_slot + stage_words < end; free_slot += stage_words) copy(next, free_slot);
    int slot = ring;
    typename Format::Sum c[kProducts][4] = {};
    while (done.stage < num_stages) {
      wait_copies<kStages - 2>();
      sync_warp();
      copy(next, free_slot);
      multiply(slot, c);
      free_slot = slot;
      slot = slot + stage_words < end ? slot + stage_words : ring;
      const int unit = done.unit;
      const bool is_last = done.stage + 1 == num_stages;
      done.advance(all.plan);
      if (done.in_unit != 0 && !is_last) continue;
      finish_unit(unit, c);
      FATHOM_UNROLL
      for (int r = 0; r < kProducts; ++r)
        for (int e = 0; e < 4; ++e) c[r][e] = 0;
    }
    wait_copies<0>();
  }
};

// Where a block keeps the sums of a panel's unit: [panels, units, products, 4, lanes].
template <int kProducts>
FATHOM_DEVICE int partial_index(const cuda::StreamPlan& plan, int panel, int unit, int product, int e) {
  return (((panel * plan.num_units + unit) * kProducts + product) * 4 + e) * kWarpLanes + lane_index();
}

// Adds the units of an output's panel or panels in order and writes them.
template <int kPanels, int kProducts, typename Sum>
FATHOM_DEVICE void write_stream(const StreamLaunched& all, const Work& work, const SharedArray<Sum>& partials,
                                int64_t first_panel, int panel_in_block, int product) {
  Sum total[kPanels][4] = {};
  for (int unit = 0; unit < all.plan.num_units; ++unit) {
    FATHOM_UNROLL
    for (int i = 0; i < kPanels; ++i)
      for (int e = 0; e < 4; ++e)
        total[i][e] += partials[partial_index<kProducts>(all.plan, panel_in_block + i, unit, product, e)];
  }
  write_product<kPanels, Sum>(all.launched, work, first_panel + panel_in_block,
                              (work.row_block * kProducts + product) * kProductRows, total);
}

template <typename Format, int kProducts>
FATHOM_KERNEL(kStreamThreads, 2)
stream_kernel(StreamLaunched all) {
  begin_kernel();
  using Sum = typename Format::Sum;
  using Stream = PanelStream<Format, kProducts>;
  const Launched& launched = all.launched;
  const LinearParams& p = launched.batch.linear;
  const Work work = work_of_block(launched);
  const int64_t num_rows = work.num_tokens * launched.rows_per_token;
  const int64_t first_row = work.row_block * kProducts * kProductRows;
  if (first_row >= num_rows) return;
  const int num_panels = 1 << all.plan.panel_bits;
  const int64_t first_panel = p.begin + (block_x() << all.plan.panel_bits);
  const int num_warps = block_threads() >> 5;
  const int stage_words = Format::Panels::kStageRoom + all.plan.rows * kRowStageWords;
  SharedMemory shared;
  const SharedArray<uint32_t> room = shared.take<uint32_t>(num_warps * Stream::kStages * stage_words);
  const SharedArray<Sum> partials =
      shared.take<Sum>(num_panels * all.plan.num_units * kProducts * 4 * kWarpLanes);

  const int own_panel = warp_index() & (num_panels - 1);
  if (first_panel + own_panel < p.end) {
    const StreamRows<kProducts> rows(launched, work, first_row, static_cast<int>(num_rows - first_row),
                                     lane_index());
    const Stream stream{all,         rows,
                        room,        warp_index() * Stream::kStages * stage_words,
                        stage_words, (launched.num_steps + kStageSteps - 1) / kStageSteps};
    stream.run(work.panels + (first_panel + own_panel) * launched.panel_words,
               warp_index() >> all.plan.panel_bits, [&](int unit, const Sum(&c)[kProducts][4]) {
                 FATHOM_UNROLL
                 for (int r = 0; r < kProducts; ++r)
                   for (int e = 0; e < 4; ++e)
                     partials[partial_index<kProducts>(all.plan, own_panel, unit, r, e)] = c[r][e];
               });
  }
  sync_threads();
  const bool paired = p.output == LinearParams::Output::kSiluMul;
  const int step = paired ? 2 : 1;
  for (int i = warp_index(); i < (paired ? num_panels >> 1 : num_panels) * kProducts; i += num_warps) {
    const int panel = i / kProducts * step;
    if (first_panel + panel >= p.end) continue;
    if (paired) {
      write_stream<2, kProducts, Sum>(all, work, partials, first_panel, panel, i % kProducts);
    } else {
      write_stream<1, kProducts, Sum>(all, work, partials, first_panel, panel, i % kProducts);
    }
  }
}

}  // namespace

int launch_stream(const Launched& launched, const cuda::StreamPlan& plan, void* stream) {
  const cuda::LinearBatchParams& batch = launched.batch;
  const StreamLaunched all{launched, plan};
  const LaunchShape shape{
      .blocks_x = num_blocks(batch.linear.end - batch.linear.begin, int64_t{1} << plan.panel_bits),
      .blocks_y = num_items(batch),
      .threads = (plan.splits << plan.panel_bits) * kWarpLanes,
      .shared_bytes = plan.shared_bytes,
      .stream = stream};
  return with_format(batch, [&]<typename Format>(Format) {
    return plan.products == 1 ? launch(stream_kernel<Format, 1>, shape, all)
                              : launch(stream_kernel<Format, 2>, shape, all);
  });
}

}  // namespace fathom::kernels::FATHOM_CUDA_NAMESPACE
