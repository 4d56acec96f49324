// The CPU backend: splits each operation over a thread team and calls the chosen kernels. Rows, heads and
// splits go out in static shares, panels of weights are claimed; no result depends on the team's size.
#pragma once

#include <vector>

#include "base/thread_team.h"
#include "device/backend.h"
#include "device/claim_board.h"
#include "device/cpu_communicator.h"
#include "device/input_rows.h"
#include "device/weight_arena.h"
#include "device/work_share.h"
#include "kernels/kernel_table.h"

namespace fathom {

class CpuBackend final : public Backend {
 public:
  CpuBackend(Placement placement, Isa isa);

  Result<DeviceCommunicator*> connect(Communicator& communicator) override;
  Result<DeviceBuffer> allocate(size_t bytes) override;
  Status upload(const void* host, void* device, size_t bytes) override;
  Result<const void*> read_back(const void* device, size_t bytes, std::vector<std::byte>& room) override;
  Status copy(const void* from, void* to, size_t bytes) override;
  Result<Weight> load_matrix(const WeightSource& source) override;
  Result<MlpWeights> load_mlp(const WeightSource& gate, const WeightSource& up,
                              const WeightSource& down) override;
  Result<KvBWeights> load_kv_b(const TensorView& tensor, int64_t num_heads, int64_t nope_dim) override;
  Result<VectorWeight> load_vector(const TensorView& tensor) override;
  Result<EmbeddingTable> load_embedding(const TensorView& tensor) override;

  Status begin_step(const Batch& batch) override;
  void embed(const EmbeddingTable& table, float* out) override;
  void project(const ProjectOp& op) override;
  void store_latent(const StoreLatentOp& op) override;
  void attend(const AttendOp& op) override;
  void moe(const MoeOp& op) override;
  void mlp(const MlpOp& op) override;
  void head(const HeadOp& op) override;
  void clear(float* x, int64_t count) override;
  void add(const float* x, float* y, int64_t count) override;
  void copy_rows(const CopyRowsOp& op) override;
  int num_host_threads() const override { return team_.size(); }
  void share_out(int64_t count, HostWork work) override;

 private:
  // Which rows of the batch are computed in which form of attention.
  struct AttentionPlan {
    std::vector<int32_t> absorbed_rows;      // rows of the batch
    std::vector<int32_t> absorbed_segments;  // the segment of each of them
    std::vector<int32_t> expanded_segments;
  };
  // Rows of the attention plan that are computed together, and their results on the way.
  struct AbsorbedPlan {
    int64_t first_row = 0;  // in AttentionPlan::absorbed_rows
    int64_t num_rows = 0;
    std::vector<int64_t> first_splits;  // [num_rows + 1]
    AlignedBuffer q;                    // [num_rows, H, R + r]
    AlignedBuffer split_out;            // [splits, H, R]
    AlignedBuffer split_max;            // [splits, H]
    AlignedBuffer split_sum;            // [splits, H]
    AlignedBuffer merged;               // [num_rows, H, R]
  };
  // One head over some tokens of a segment.
  struct ExpandedItem {
    int32_t segment = 0;
    int64_t head = 0;
    IndexRange tokens;
  };
  struct PackSource;  // cpu_weights.cc

  // The router's choice, and its pairs (token, slot k) sorted by expert: rows [offsets[e], offsets[e + 1]) go
  // to expert e.
  struct ExpertPlan {
    std::vector<int32_t> expert_ids;    // [T, K]
    std::vector<float> expert_weights;  // [T, K]
    std::vector<int32_t> offsets;       // [E + 1]
    std::vector<int32_t> tokens;        // [T * K]
    std::vector<float> weights;         // [T * K]
    std::vector<int32_t> cursors;       // [E]
  };
  // Hidden activations of one wave.
  struct HiddenRows {
    AlignedBuffer values;  // [rows, width] float32
    InputRows inputs;      // the same, prepared for down
    int64_t num_rows = 0;  // laid out so far
  };
  // Some rows through one network.
  struct Piece {
    const MlpWeights* weights = nullptr;
    const InputRows* inputs = nullptr;
    int64_t first_input = 0;
    int64_t num_rows = 0;
    HiddenRows* hidden = nullptr;
    int64_t first_hidden = 0;
    float* y = nullptr;                // of row 0, or the residual where y_rows says which
    const int32_t* y_rows = nullptr;   // or null
    const float* y_weights = nullptr;  // or null: 1
  };
  struct NetworkPlan {
    std::vector<Piece> pieces;
    std::vector<IndexRange> waves;  // of pieces
  };

  // The form of input that products with this weight take.
  InputForm input_form(kernels::PanelFormat format, Int8Inputs int8_inputs,
                       ActivationRounding rounding) const;
  InputForm input_form(const Weight& weight, ActivationRounding rounding) const {
    return input_form(weight.format, weight.int8_inputs, rounding);
  }
  // What prepare writes for x; destinations are set.
  kernels::PrepareParams prepare_params(const InputRows& rows, const float* x, int64_t width,
                                        const Norm& norm, ActivationRounding rounding) const;
  // This thread's share of preparing num_tokens rows.
  void prepare_inputs(const kernels::PrepareParams& params, int64_t num_tokens, int thread) const;
  // The arguments of a product with panels of this thread's node, inputs and outputs not yet set.
  kernels::LinearParams linear_params(const Weight& weight, int thread);
  // This thread's part of y = weight x for num_tokens rows, claimed on the board's phase; target says where
  // the outputs go, from token 0 on.
  void multiply(const Weight& weight, const InputRows& rows, int64_t num_tokens, ActivationRounding rounding,
                const kernels::LinearParams& target, int64_t phase, int thread);

  Status pack(const PackSource& source, Weight& weight);
  Status pack_scales(const WeightSource& source, const WeightSource* second, Weight& weight);

  void plan_attention();
  kernels::AttentionPrecision attention_precision(const AttendOp& op) const;
  int64_t row_splits(int64_t plan_index) const;
  void attend_absorbed(const AttendOp& op, IndexRange plan_rows);
  void prepare_queries(const AttendOp& op, int thread);
  void multiply_heads(const std::vector<Weight>& heads, const InputRows& rows, ActivationRounding rounding,
                      const kernels::LinearParams& target, int64_t y_step, int thread);
  void attend_splits(const AttendOp& op, int thread);
  void merge_rows(const AttendOp& op, int thread);
  void attend_expanded(const AttendOp& op, int thread);
  void attend_item(const AttendOp& op, const ExpandedItem& item, int thread);
  const int32_t* page_table(int64_t segment) const;

  void route(const MoeOp& op, int thread);
  void reserve_moe(const MoeOp& op);
  void reserve_hidden(HiddenRows& hidden, int64_t num_rows, int64_t width, FormSet forms);
  void plan_experts(const Routing& routing, int64_t num_tokens);
  void plan_networks(const MoeOp& op);
  static void add_pieces(Piece piece, std::vector<Piece>& pieces);
  void cut_waves();
  void run_networks(ActivationRounding rounding, int thread);
  void gate_and_up(std::span<const Piece> wave, ActivationRounding rounding, int64_t phase, int thread);
  void prepare_hidden(std::span<const Piece> wave, int thread);
  void down(std::span<const Piece> wave, ActivationRounding rounding, int64_t phase, int thread);

  ThreadTeam team_;
  std::unique_ptr<CpuCommunicator> ranks_;
  std::vector<NodeSeat> seats_;  // by thread
  kernels::KernelTable kernels_;
  ClaimBoard claims_;
  WeightArena arena_;
  Batch batch_;
  AttentionPlan attention_plan_;
  ExpertPlan expert_plan_;
  NetworkPlan network_plan_;

  InputRows inputs_;         // of a block
  InputRows expert_inputs_;  // sorted by expert
  HiddenRows routed_hidden_;
  HiddenRows shared_hidden_;  // and those of dense layers
  AlignedBuffer router_logits_;
  AlignedBuffer router_scores_;
  AlignedBuffer head_rows_;  // of the vocabulary's head
  AbsorbedPlan absorbed_plan_;
  InputRows head_inputs_;   // of products per head, [rows * H]: queries to be folded
  InputRows value_inputs_;  // likewise: attended latents
  std::vector<std::vector<ExpandedItem>> expanded_items_;  // by thread
  std::vector<AlignedBuffer> thread_scratch_;              // by thread
};

}  // namespace fathom
