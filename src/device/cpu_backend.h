// The CPU backend: splits each operation over a thread team and calls the chosen kernels. Weights stay where
// the checkpoint is mapped. Static shares of outputs, heads or rows; no result depends on the team's size.
#pragma once

#include <vector>

#include "base/thread_team.h"
#include "device/backend.h"
#include "kernels/kernel_table.h"

namespace fathom {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuBackendOptions& options);

  Result<DeviceBuffer> allocate(size_t bytes) override;
  Result<Weight> load_weight(const TensorView& tensor) override;
  Result<Weight> load_float_weight(const TensorView& tensor) override;
  Status upload(const void* host, void* device, size_t bytes) override;
  Status download(const void* device, void* host, size_t bytes) override;
  Status begin_step(const Batch& batch) override;
  void embed(const Weight& table, float* out) override;
  void rms_norm(const NormOp& op) override;
  void linear(const LinearOp& op) override;
  void rope_query(const RopeQueryOp& op) override;
  void store_latent(const StoreLatentOp& op) override;
  void attend(const AttendOp& op) override;
  void route(const RouteOp& op) override;
  void experts(const ExpertsOp& op) override;
  void mlp(const MlpOp& op) override;
  void gather_logits_rows(const float* x, int64_t width, float* out) override;

 private:
  // What attend() shares out: (row, head) pairs of absorbed segments, (segment, head) pairs of expanded ones.
  struct AttentionPlan {
    std::vector<int32_t> absorbed_rows;      // rows of the batch
    std::vector<int32_t> absorbed_segments;  // the segment of each of them
    std::vector<int32_t> expanded_segments;
  };
  // Rows (token, slot k) sorted by expert: rows [offsets[e], offsets[e + 1]) go to expert e.
  struct ExpertPlan {
    std::vector<int32_t> offsets;  // [E + 1]
    std::vector<int32_t> tokens;   // [T * K]
    std::vector<float> weights;    // [T * K]
    std::vector<int32_t> cursors;  // [E]
  };
  // Scratch memory that outlives an operation's region; one more per thread follows.
  enum ScratchId : size_t {
    kRouterLogits,
    kRouterScores,
    kExpertInputs,   // [T * K, D] gathered
    kExpertHidden,   // [T * K, width]
    kExpertUp,       // [T * K, width]
    kExpertOutputs,  // [T * K, D]
    kExpertSums,     // [T, D]
    kDenseHidden,    // [T, dense or shared width]
    kDenseUp,
    kThreadScratch,
  };
  // One network over some rows.
  struct NetworkRows;

  void attend_absorbed(const AttendOp& op, int64_t plan_index, IndexRange heads, int thread);
  void attend_expanded(const AttendOp& op, int32_t segment, int64_t head, int thread);
  void plan_attention();
  void plan_experts(const ExpertsOp& op);
  void gate_and_up(const NetworkRows& network, int thread);
  void down(const NetworkRows& network, int thread, kernels::LinearParams::Output output);
  void run_routed_experts(const ExpertsOp& op, int thread);
  void sum_experts(const ExpertsOp& op, int thread);
  NetworkRows expert_rows(const ExpertsOp& op, size_t expert);
  NetworkRows shared_rows(const ExpertsOp& op);
  const int32_t* page_table(int64_t segment) const;
  // At least count floats, kept from step to step; id names the buffer.
  float* scratch(size_t id, int64_t count);

  ThreadTeam team_;
  kernels::KernelTable kernels_;
  Batch batch_;
  AttentionPlan attention_plan_;
  ExpertPlan expert_plan_;
  std::vector<std::vector<float>> scratch_;
};

}  // namespace fathom
