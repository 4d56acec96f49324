#include <algorithm>

#include "benchmark/kernel_groups.h"
#include "benchmark/linear_shapes.h"
#include "benchmark/random_memory.h"
#include "device/input_rows.h"

namespace fathom {
namespace {

using kernels::ActivationRounding;
using kernels::LinearParams;
using Output = LinearParams::Output;

// The head is the only matrix beyond: a part of it is timed, and with many tokens its outputs would not be
// what the engine ever computes.
constexpr int64_t kMaxOutputs = 32768;
// Of the pool, at least: so that the copy before has left the caches when a call comes back to it.
constexpr int64_t kMinCopies = 4;

// One matrix with some tokens: rows prepared, room for the outputs.
class LinearCase {
 public:
  LinearCase(const KernelBench& bench, const WeightPool& pool, const LinearShape& shape,
             const LinearFormat& format, int64_t num_tokens)
      : bench_(bench), shape_(shape), num_tokens_(num_tokens) {
    const bool decoded = format.form == InputForm::kBFloat16 && !bench.table.has_bf16_products;
    form_ = decoded ? InputForm::kFloat32 : format.form;
    const int64_t panel_bytes = kernels::panel_bytes(shape.inputs, format.panels());
    const int64_t room = static_cast<int64_t>(pool.bytes()) / (kMinCopies * panel_bytes * shape.step());
    outputs_ = std::min({std::max<int64_t>(room, 1) * kernels::kPanelRows, shape.outputs, kMaxOutputs});
    const int64_t num_panels = kernels::num_panels(outputs_) * shape.step();
    copies_ = pool.cut(num_panels, shape.step(), panel_bytes);
    const auto num_scales = static_cast<size_t>(num_panels * kernels::kPanelRows);
    scales_.assign(num_scales, 1.0f / 127);
    sums_.assign(num_scales, 0);
    token_weights_.assign(static_cast<size_t>(num_tokens), 0.5f);
    y_.reserve(static_cast<size_t>(num_tokens * outputs_) * sizeof(float));
    std::fill_n(y_.floats(), num_tokens * outputs_, 0.0f);
    prepare(format);
    scratch_.resize(bench.seats.size());
    for (AlignedBuffer& scratch : scratch_)
      scratch.reserve(static_cast<size_t>(kernels::int4_scratch_bytes(shape.inputs)));

    const bool integer = format.is_integer();
    params_ = {.int8_zero_point = bench.table.int8_zero_point,
               .weight_scales = integer ? scales_.data() : nullptr,
               .weight_sums = integer ? sums_.data() : nullptr,
               .format = format.panels(),
               .y_stride = outputs_,
               .y_weights = shape.output == Output::kAddWeighted ? token_weights_.data() : nullptr,
               .rounding = format.rounding,
               .output = shape.output,
               .num_inputs = shape.inputs,
               .num_outputs = outputs_};
    row_ = {.name = shape.name,
            .kernel = bench.table.linear(form_, format.panels()).name,
            .shape = shape_text(),
            .tokens = num_tokens,
            .bytes = static_cast<double>(num_panels * panel_bytes + (integer ? num_panels * 64 : 0))};
    row_.rotated_bytes = row_.bytes * static_cast<double>(copies_.num_copies);
    row_.operations.*format.operations =
        2 * static_cast<double>(shape.step() * outputs_ * shape.inputs * num_tokens);
  }

  const KernelRow& row() const { return row_; }

  void run(int thread, int64_t call) const {
    const NodeSeat& seat = bench_.seats[static_cast<size_t>(thread)];
    const IndexRange& panels = copies_.nodes[static_cast<size_t>(seat.node)].panels;
    const ProductShare share = product_share(panels, shape_.step(), num_tokens_, seat);
    if (share.empty()) return;
    LinearParams params = params_;
    inputs_.set_inputs(params, form_, share.tokens.begin);
    params.panels = copies_.panels(call % copies_.num_copies, seat.node);
    params.y = y_.floats() + share.tokens.begin * outputs_;
    if (params.y_weights != nullptr) params.y_weights += share.tokens.begin;
    params.num_tokens = share.tokens.size();
    params.scratch = scratch_[static_cast<size_t>(thread)].data();
    params.begin = share.panels.begin;
    params.end = share.panels.end;
    bench_.table.linear(form_, params.format)(params);
  }

 private:
  std::string shape_text() const {
    const std::string text = fmt::format("{} x {}", outputs_, shape_.inputs);
    const std::string part =
        outputs_ < shape_.outputs ? fmt::format(" of {}", shape_.outputs) : std::string();
    return (shape_.step() == 2 ? "2 x " : "") + text + part;
  }

  void prepare(const LinearFormat& format) {
    const AlignedBuffer x = random_floats(num_tokens_ * shape_.inputs);
    inputs_.resize(num_tokens_, shape_.inputs, {form_});
    kernels::PrepareParams params{.x = x.floats(),
                                  .width = shape_.inputs,
                                  .x_stride = shape_.inputs,
                                  .rounding = format.rounding,
                                  .int8_zero_point = bench_.table.int8_zero_point,
                                  .begin = 0,
                                  .end = num_tokens_};
    inputs_.set_destinations(params, 0);
    bench_.table.prepare(params);
  }

  const KernelBench& bench_;
  const LinearShape& shape_;
  int64_t num_tokens_;
  InputForm form_ = InputForm::kFloat32;
  int64_t outputs_ = 0;
  PackedCopies copies_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
  std::vector<float> token_weights_;
  AlignedBuffer y_;                     // [tokens, outputs]
  std::vector<AlignedBuffer> scratch_;  // by thread
  InputRows inputs_;
  LinearParams params_;
  KernelRow row_;
};

// The least that is cut: a step of panels on every node.
Status check_room(const WeightPool& pool, const LinearShape& shape, const LinearFormat& format) {
  const int64_t step_bytes = kernels::panel_bytes(shape.inputs, format.panels()) * shape.step();
  if (static_cast<uint64_t>(step_bytes) <= pool.node_bytes()) return ok_status();
  return resource_exhausted("{}: {} bytes for {} outputs are more than the {} bytes to measure in",
                            shape.name, step_bytes, kernels::kPanelRows, pool.node_bytes());
}

}  // namespace

Result<std::vector<KernelSection>> bench_linears(const KernelBench& bench, KernelGroup group) {
  WeightPool pool(bench.team());
  FATHOM_RETURN_IF_ERROR(pool.reserve(bench.pool_bytes));
  const std::vector<LinearShape> shapes = linear_shapes(bench.options.config, group);
  std::vector<KernelSection> sections;
  for (const LinearFormat& format : kLinearFormats) {
    std::vector<LinearShape> stored = shapes;
    std::erase_if(stored,
                  [&](const LinearShape& shape) { return format.is_integer() && shape.never_integer; });
    if (stored.empty()) continue;
    pool.fill(format.dtype);
    OperationCounts kinds;
    kinds.*format.operations = 1;
    SectionMeter section(bench, {.group = group,
                                 .name = format.name,
                                 .kinds = kinds,
                                 .num_rows = stored.size() * bench.options.tokens.size()});
    for (const LinearShape& shape : stored) {
      FATHOM_RETURN_IF_ERROR(check_room(pool, shape, format));
      for (int64_t num_tokens : bench.options.tokens) {
        const LinearCase linear(bench, pool, shape, format, num_tokens);
        section.add(linear.row(), [&](int thread, int64_t call) { linear.run(thread, call); });
      }
    }
    sections.push_back(section.finish());
  }
  return sections;
}

}  // namespace fathom
