// The CUDA backend: the operations of backend.h as launches of kernels/cuda on one stream of a CudaDevice.
//
// Weights are the CPU's panels, uploaded. A launch that fails is remembered and reported by the next
// operation that returns a Status.
//
// Steps that generate tokens are sent as graphs (step_graphs.h): while one is captured operations launch as
// ever, and once it is there they only count themselves, and the last one, head, launches it. So nothing in
// an operation may depend on anything but the step's shape and what begin_step has uploaded.
#pragma once

#include <map>

#include "base/thread_team.h"
#include "device/backend.h"
#include "device/cuda/cuda_device.h"
#include "device/cuda/growing_room.h"
#include "device/cuda/nccl_communicator.h"
#include "device/cuda/staged_communicator.h"
#include "device/cuda/step_graphs.h"
#include "device/cuda/weight_store.h"
#include "kernels/cuda/flash_plan.h"
#include "kernels/cuda/split_plan.h"

namespace fathom {

class CudaBackend final : public Backend {
 public:
  // Throws std::system_error where the system refuses the host's threads.
  CudaBackend(const CudaDevice& device, const CudaBackendOptions& options);

  Result<DeviceCommunicator*> connect(Communicator& communicator) override;
  MemoryInfo memory() const override;
  Result<DeviceBuffer> allocate(size_t bytes) override;
  Status upload(const void* host, void* device, size_t bytes) override;
  Result<const void*> read_back(const void* device, size_t bytes, std::vector<std::byte>& room) override;
  Result<std::optional<Examined>> examine(const ExamineOp& op) override;
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
  // For tests.
  const StepGraphs& graphs() const { return graphs_; }

 private:
  // What the rows of a linear look like: kernels::InputForm, and fp16 with a power of two a row.
  enum class Form : uint8_t { kFloat32, kBFloat16, kInt8, kInt8Pair, kFloat16 };
  static constexpr int kNumForms = 5;

  // Device memory that grows.
  struct Scratch {
    DeviceBuffer buffer;
    template <typename T>
    T* as() const {
      return static_cast<T*>(buffer.data());
    }
  };
  // Rows prepared in several forms.
  struct Rows {
    Scratch values[kNumForms];
    Scratch scales[kNumForms];
    int64_t padded = 0;
  };
  // The device's copy of the current batch.
  struct BatchArrays {
    Scratch storage;
    const int32_t* token_ids = nullptr;
    const int32_t* positions = nullptr;
    const int64_t* slots = nullptr;
    const int32_t* page_tables = nullptr;
    const int32_t* logits_rows = nullptr;
    const kernels::cuda::KeyTile* key_tiles = nullptr;  // of expanded_plan_
    const kernels::cuda::QueryTile* query_tiles = nullptr;
    const kernels::cuda::SplitItem* split_items = nullptr;  // of split_plan_
    const kernels::cuda::SplitResults* split_results = nullptr;
  };
  // Weights that are groups of a launch: a layer's experts, or its heads.
  struct WeightGroups {
    // Those of one form; the others' groups are absent.
    struct OneForm {
      unsigned form = 0;                                   // bit
      int64_t example = 0;                                 // number of a weight that has it
      const kernels::cuda::LinearGroup* groups = nullptr;  // on the device
    };
    std::vector<OneForm> by_form;
    unsigned forms = 0;
    const kernels::cuda::LinearGroup* all = nullptr;  // on the device
    DeviceBuffer storage;
  };
  using WeightAt = FunctionRef<const Weight&(int64_t index)>;
  struct PanelSource;  // cuda_weights.cc

  static Form form_of(const Weight& weight, ActivationRounding rounding);
  static unsigned form_bit(const Weight& weight, ActivationRounding rounding);
  // Elements from row to row of a linear's inputs: whole tiles of every format.
  static int64_t padded_row(int64_t width) { return kernels::round_up(width, 64); }
  // Begins an operation of a step: false where there is nothing to launch, since an earlier one has failed or
  // the step's graph is there.
  bool launches();
  // These remember the first failure; false: there is one.
  bool launched(int error, const char* kernel);
  bool leaves_capture();
  bool reserve(Scratch& scratch, int64_t bytes);
  bool put(Scratch& scratch, const void* host, int64_t bytes);

  // Panels [begin, end) of a weight.
  static void pack_panels(const PanelSource& source, const Weight& weight, int64_t begin, int64_t end,
                          std::byte* to);
  // Items of item_bytes each, made on all host threads.
  using PackItem = FunctionRef<void(int64_t item, std::byte* to)>;
  Result<const std::byte*> store_packed(int64_t num_items, int64_t item_bytes, PackItem pack_item);
  Status pack(const PanelSource& source, Weight& weight);
  Status pack_scales(const WeightSource& source, const WeightSource* second, Weight& weight);

  // Room for rows in the forms of the bit set.
  bool reserve_rows(Rows& rows, int64_t width, int64_t num_rows, unsigned forms);
  static kernels::PreparedRows prepared_rows(const Rows& rows, Form form);
  bool gather(const kernels::cuda::GatherParams& params);
  // Prepares num_rows rows in the forms of the bit set.
  bool prepare(Rows& rows, const kernels::PrepareParams& params, int64_t num_rows, unsigned forms);
  // y = weight x, y and its form not yet set.
  kernels::cuda::LinearBatchParams product(const Weight& weight, const Rows& rows, int64_t num_tokens,
                                           ActivationRounding rounding) const;
  void multiply(const kernels::cuda::LinearBatchParams& params);
  // Weights weight(0), weight(1), .., of which one at least is present, as groups; made and uploaded when
  // they are first asked for. Null: failed.
  const WeightGroups* groups_of(int64_t count, WeightAt weight, ActivationRounding rounding);
  bool make_groups(WeightGroups& groups, int64_t count, WeightAt weight, ActivationRounding rounding);
  // residual += network(inputs_)
  void run_mlp(const MlpWeights& weights, int64_t num_tokens, float* residual, ActivationRounding rounding);
  void route(const MoeOp& op);
  void run_experts(const MoeOp& op, const WeightGroups& gate_up);
  void multiply_experts(const WeightGroups& groups, WeightAt weight,
                        const kernels::cuda::LinearBatchParams& target, const Rows& rows, const MoeOp& op);
  void plan_expanded();
  static DType expanded_dtype(const AttendOp& op);
  void attend_expanded(const AttendOp& op);
  bool gather_latents(const AttendOp& op, DType dtype, const kernels::cuda::ExpandedPass& pass);
  // Heads [first, first + count).
  void expand_heads(const AttendOp& op, DType dtype, const kernels::cuda::ExpandedPass& pass, int64_t first,
                    int64_t count);
  void attend_heads(const AttendOp& op, DType dtype, const kernels::cuda::ExpandedPass& pass, int64_t first,
                    int64_t count);
  void plan_absorbed();
  static kernels::AttentionPrecision attention_precision(const AttendOp& op);
  void attend_rows(const AttendOp& op, const kernels::cuda::SplitPass& pass);
  bool fold_queries(const AttendOp& op, const float* q, int64_t num_rows);
  bool attend_splits(const AttendOp& op, const kernels::cuda::SplitPass& pass);
  bool merge_splits(const AttendOp& op, const kernels::cuda::SplitPass& pass);
  void multiply_heads(const std::vector<Weight>& heads, const Rows& rows, int64_t num_rows, float* y,
                      int64_t y_stride, ActivationRounding rounding);

  Status make_records(const ExamineOp& op, int64_t head_stride, std::byte* answers);
  Status bring_rows(const ExamineOp& op, std::byte* rows);
  // Until the stream has done all it was given; cuda_ranks.cc.
  Status wait();
  bool is_graph_step() const;
  void run_project(const ProjectOp& op);
  void run_head(const HeadOp& op);

  CudaDevice device_;
  ThreadTeam team_;
  // Whether a step from embed to head is launches of this backend alone: so it can be a graph.
  bool is_alone_ = true;
  std::unique_ptr<NcclCommunicator> nccl_;            // of several ranks: this
  std::unique_ptr<StagedCommunicator> staged_ranks_;  // or this
  StepGraphs graphs_;
  PinnedRoom staged_;          // the batch's arrays on their way
  bool is_in_flight_ = false;  // staged_ is being read
  PinnedRoom read_room_;       // what was read back last
  PinnedRoom staged_queries_;
  DeviceRoom examining_;  // queries, answers and room of the last examine()
  Status failure_;
  WeightStore store_;
  // By the panels of the first weight that is present: memory that lives as long as the backend.
  std::map<std::pair<const void*, ActivationRounding>, WeightGroups> groups_;

  Batch batch_;
  int64_t result_floats_ = 1;  // of a split's partial result, in the widest attention loaded
  std::vector<kernels::cuda::SplitRow> split_rows_;
  kernels::cuda::SplitPlan split_plan_;
  BatchArrays arrays_;
  kernels::cuda::ExpandedPlan expanded_plan_;
  Rows inputs_, hidden_inputs_, head_inputs_, latents_;
  Scratch hidden_, expert_outputs_, router_logits_, expert_ids_, expert_weights_, tiles_, tokens_, places_;
  Scratch folded_, split_out_, split_max_, split_sum_, merged_, head_rows_;
  Scratch rope_, expanded_;
};

}  // namespace fathom
