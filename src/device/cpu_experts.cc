// Dense, routed and shared networks of the CPU backend. Tokens are sorted by expert, so that each expert's
// weights are read once a step. Rows pass through in waves that keep the hidden activations in cache; inside
// a wave all threads work on all networks: gate and up with SiLU, then the hidden rows' preparation, then
// down, where every thread owns the same columns of every network, so that a token's sum is taken in expert
// order.
#include <algorithm>

#include "device/cpu_backend.h"

namespace fathom {

namespace {

// Rows of one wave: the hidden rows of an expert 1408 wide are 5.8 MB then, and weights are read from memory
// once per so many rows.
constexpr int64_t kWaveRows = 1024;
// Reading a panel takes as long as multiplying about this many rows by it.
constexpr int64_t kReadCost = 4;
// The smallest stretch of gate and up that is claimed is this part of a thread's share.
constexpr int64_t kClaimsPerThread = 16;
// Lines of the claim board: the router's product, then two a wave.
constexpr int64_t kRouterPhase = 0;
constexpr int64_t kFirstWavePhase = 1;
// Panels of down's outputs that a thread claims for all networks of a wave.
constexpr int64_t kColumnPanels = 4;

}  // namespace

// Cuts rows into pieces of at most kWaveRows and appends them. Hidden rows are counted per wave: the first
// piece of a wave starts at 0.
void CpuBackend::add_pieces(Piece piece, std::vector<Piece>& pieces) {
  const int64_t num_rows = piece.num_rows;
  const int64_t width = piece.weights->down.rows;
  if (!piece.weights->present()) return;
  for (int64_t first = 0; first < num_rows; first += kWaveRows) {
    Piece part = piece;
    part.first_input += first;
    part.num_rows = std::min(kWaveRows, num_rows - first);
    if (part.y_rows != nullptr) {
      part.y_rows += first;
    } else {
      part.y += first * width;
    }
    if (part.y_weights != nullptr) part.y_weights += first;
    pieces.push_back(part);
  }
}

// Waves as [begin, end) of pieces, and each piece's place among the hidden rows.
void CpuBackend::cut_waves() {
  NetworkPlan& plan = network_plan_;
  plan.waves.clear();
  int64_t rows = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(plan.pieces.size()); ++i) {
    Piece& piece = plan.pieces[static_cast<size_t>(i)];
    if (plan.waves.empty() || rows + piece.num_rows > kWaveRows) {
      plan.waves.push_back({i, i});
      rows = 0;
      routed_hidden_.num_rows = shared_hidden_.num_rows = 0;
    }
    plan.waves.back().end = i + 1;
    rows += piece.num_rows;
    piece.first_hidden = piece.hidden->num_rows;
    piece.hidden->num_rows += piece.num_rows;
  }
  claims_.reset(kFirstWavePhase + 2 * static_cast<int64_t>(plan.waves.size()));
}

void CpuBackend::reserve_hidden(HiddenRows& hidden, int64_t num_rows, int64_t width, FormSet forms) {
  const int64_t rows = std::min(num_rows, kWaveRows);
  hidden.values.reserve(static_cast<size_t>(rows * width) * sizeof(float));
  hidden.inputs.resize(rows, width, forms);
}

void CpuBackend::gate_and_up(std::span<const Piece> wave, ActivationRounding rounding, int64_t phase,
                             int thread) {
  const NodeSeat& seat = seats_[static_cast<size_t>(thread)];
  const auto node = static_cast<size_t>(seat.node);
  const auto item_of = [node](const Piece& piece) {
    const WeightPart& part = piece.weights->gate_up.parts[node];
    return WorkItem{(part.end - part.begin) / 2, std::max(piece.num_rows, kReadCost)};
  };
  const auto run = [&](size_t i, int64_t first, int64_t end) {
    const Piece& piece = wave[i];
    const Weight& weight = piece.weights->gate_up;
    kernels::LinearParams params = linear_params(weight, thread);
    const InputForm form = input_form(weight, rounding);
    piece.inputs->set_inputs(params, form, piece.first_input);
    params.y = piece.hidden->values.floats() + piece.first_hidden * weight.rows;
    params.y_stride = weight.rows;
    params.rounding = rounding;
    params.output = kernels::LinearParams::Output::kSiluMul;
    params.num_tokens = piece.num_rows;
    params.begin = weight.parts[node].begin + 2 * first;
    params.end = weight.parts[node].begin + 2 * end;
    kernels_.linear(form, weight.format)(params);
  };
  const int64_t total = cost_of_line(wave, item_of);
  const int64_t least = total / (kClaimsPerThread * seat.num_threads);
  while (true) {
    const IndexRange stretch = claims_.claim(phase, seat.node, total, least, 1, seat.num_threads);
    if (stretch.size() == 0) return;
    for_stretch_of_line(wave, item_of, stretch.begin, stretch.end, run);
  }
}

void CpuBackend::prepare_hidden(std::span<const Piece> wave, int thread) {
  const auto item_of = [](const Piece& piece) { return WorkItem{piece.num_rows, piece.weights->down.cols}; };
  for_share_of_line(wave, item_of, thread, team_.size(), [&](size_t i, int64_t first, int64_t end) {
    const Piece& piece = wave[i];
    // Rounded by gate_and_up already.
    const int64_t width = piece.weights->down.cols;
    kernels::PrepareParams params =
        prepare_params(piece.hidden->inputs, piece.hidden->values.floats() + piece.first_hidden * width,
                       width, {}, ActivationRounding::kNone);
    piece.hidden->inputs.set_destinations(params, piece.first_hidden);
    params.begin = first;
    params.end = end;
    kernels_.prepare(params);
  });
}

void CpuBackend::down(std::span<const Piece> wave, ActivationRounding rounding, int64_t phase, int thread) {
  const NodeSeat& seat = seats_[static_cast<size_t>(thread)];
  const auto node = static_cast<size_t>(seat.node);
  const WeightPart& part = wave[0].weights->down.parts[node];
  while (true) {
    const IndexRange panels = claims_.claim(phase, seat.node, part.end - part.begin, kColumnPanels,
                                            kColumnPanels, seat.num_threads);
    if (panels.size() == 0) return;
    for (const Piece& piece : wave) {
      const Weight& weight = piece.weights->down;
      kernels::LinearParams params = linear_params(weight, thread);
      const InputForm form = input_form(weight, rounding);
      piece.hidden->inputs.set_inputs(params, form, piece.first_hidden);
      params.y = piece.y;
      params.y_stride = weight.rows;
      params.y_rows = piece.y_rows;
      params.y_weights = piece.y_weights;
      params.output = piece.y_weights != nullptr ? kernels::LinearParams::Output::kAddWeighted
                                                 : kernels::LinearParams::Output::kAdd;
      params.num_tokens = piece.num_rows;
      params.begin = part.begin + panels.begin;
      params.end = part.begin + panels.end;
      kernels_.linear(form, weight.format)(params);
    }
  }
}

// Two barriers a wave: a thread that is ahead writes hidden values of the next wave while others still read
// this wave's prepared ones.
void CpuBackend::run_networks(ActivationRounding rounding, int thread) {
  for (size_t i = 0; i < network_plan_.waves.size(); ++i) {
    const IndexRange& range = network_plan_.waves[i];
    const auto phase = kFirstWavePhase + 2 * static_cast<int64_t>(i);
    const std::span<const Piece> wave(network_plan_.pieces.data() + range.begin,
                                      static_cast<size_t>(range.size()));
    gate_and_up(wave, rounding, phase, thread);
    team_.barrier();
    prepare_hidden(wave, thread);
    team_.barrier();
    down(wave, rounding, phase + 1, thread);
  }
}

void CpuBackend::mlp(const MlpOp& op) {
  const MlpWeights& weights = *op.weights;
  const int64_t width = weights.gate_up.cols;
  inputs_.resize(op.num_tokens, width, {input_form(weights.gate_up, op.rounding)});
  reserve_hidden(shared_hidden_, op.num_tokens, weights.down.cols, {input_form(weights.down, op.rounding)});
  network_plan_.pieces.clear();
  add_pieces({.weights = &weights,
              .inputs = &inputs_,
              .num_rows = op.num_tokens,
              .hidden = &shared_hidden_,
              .y = op.residual},
             network_plan_.pieces);
  cut_waves();
  const kernels::PrepareParams params = prepare_params(inputs_, op.x, width, op.norm, op.rounding);
  team_.run([&](int thread) {
    prepare_inputs(params, op.num_tokens, thread);
    team_.barrier();
    run_networks(op.rounding, thread);
  });
}

// Counting sort of the (token, expert) pairs by expert, tokens ascending.
void CpuBackend::plan_experts(const Routing& routing, int64_t num_tokens) {
  ExpertPlan& plan = expert_plan_;
  const auto num_experts = static_cast<size_t>(routing.router->rows);
  const auto num_pairs = static_cast<size_t>(num_tokens * routing.experts_per_token);
  plan.offsets.assign(num_experts + 1, 0);
  for (size_t i = 0; i < num_pairs; ++i) ++plan.offsets[static_cast<size_t>(plan.expert_ids[i]) + 1];
  for (size_t e = 0; e < num_experts; ++e) plan.offsets[e + 1] += plan.offsets[e];
  plan.cursors.assign(plan.offsets.begin(), plan.offsets.end() - 1);
  for (size_t i = 0; i < num_pairs; ++i) {
    const auto row = static_cast<size_t>(plan.cursors[static_cast<size_t>(plan.expert_ids[i])]++);
    plan.tokens[row] = static_cast<int32_t>(static_cast<int64_t>(i) / routing.experts_per_token);
    plan.weights[row] = plan.expert_weights[i];
  }
}

// The chosen experts in ascending order, then the shared ones.
void CpuBackend::plan_networks(const MoeOp& op) {
  std::vector<Piece>& pieces = network_plan_.pieces;
  pieces.clear();
  for (size_t e = 0; e < op.experts.size(); ++e) {
    const int64_t first = expert_plan_.offsets[e];
    add_pieces({.weights = &op.experts[e],
                .inputs = &expert_inputs_,
                .first_input = first,
                .num_rows = expert_plan_.offsets[e + 1] - first,
                .hidden = &routed_hidden_,
                .y = op.residual,
                .y_rows = expert_plan_.tokens.data() + first,
                .y_weights = expert_plan_.weights.data() + first},
               pieces);
  }
  if (op.shared != nullptr) {
    add_pieces({.weights = op.shared,
                .inputs = &inputs_,
                .num_rows = op.num_tokens,
                .hidden = &shared_hidden_,
                .y = op.residual},
               pieces);
  }
  cut_waves();
}

void CpuBackend::route(const MoeOp& op, int thread) {
  const Routing& routing = op.routing;
  const int64_t num_experts = routing.router->rows;
  multiply(*routing.router, inputs_, op.num_tokens, op.rounding,
           {.y = router_logits_.floats(), .y_stride = num_experts}, kRouterPhase, thread);
  team_.barrier();
  const IndexRange tokens = static_share(op.num_tokens, 1, thread, team_.size());
  kernels_.router({.logits = router_logits_.floats(),
                   .expert_ids = expert_plan_.expert_ids.data(),
                   .expert_weights = expert_plan_.expert_weights.data(),
                   .scratch = router_scores_.floats() + thread * (num_experts + routing.n_group),
                   .num_experts = num_experts,
                   .experts_per_token = routing.experts_per_token,
                   .n_group = routing.n_group,
                   .topk_group = routing.topk_group,
                   .scaling = routing.scaling,
                   .weights = routing.weights,
                   .begin = tokens.begin,
                   .end = tokens.end});
}

void CpuBackend::reserve_moe(const MoeOp& op) {
  const int64_t num_pairs = op.num_tokens * op.routing.experts_per_token;
  const int64_t num_experts = op.routing.router->rows;
  const int64_t width = op.routing.router->cols;
  // Experts may be stored in different types.
  FormSet routed{}, hidden{};
  int64_t expert_width = 0;
  for (const MlpWeights& expert : op.experts) {
    if (!expert.present()) continue;
    expert_width = expert.down.cols;
    routed.add(input_form(expert.gate_up, op.rounding));
    hidden.add(input_form(expert.down, op.rounding));
  }
  FormSet all = routed;
  all.add(input_form(*op.routing.router, op.rounding));
  if (op.shared != nullptr) {
    all.add(input_form(op.shared->gate_up, op.rounding));
    reserve_hidden(shared_hidden_, op.num_tokens, op.shared->down.cols,
                   {input_form(op.shared->down, op.rounding)});
  }
  inputs_.resize(op.num_tokens, width, all);
  expert_inputs_.resize(num_pairs, width, routed);
  reserve_hidden(routed_hidden_, num_pairs, expert_width, hidden);
  router_logits_.reserve(static_cast<size_t>(op.num_tokens * num_experts) * sizeof(float));
  router_scores_.reserve(static_cast<size_t>((num_experts + op.routing.n_group) * team_.size()) *
                         sizeof(float));
  expert_plan_.expert_ids.resize(static_cast<size_t>(num_pairs));
  expert_plan_.expert_weights.resize(static_cast<size_t>(num_pairs));
  expert_plan_.tokens.resize(static_cast<size_t>(num_pairs));
  expert_plan_.weights.resize(static_cast<size_t>(num_pairs));
}

void CpuBackend::moe(const MoeOp& op) {
  reserve_moe(op);
  claims_.reset(kFirstWavePhase);
  const int64_t num_pairs = op.num_tokens * op.routing.experts_per_token;
  const kernels::PrepareParams params =
      prepare_params(inputs_, op.x, op.routing.router->cols, op.norm, op.rounding);
  team_.run([&](int thread) {
    prepare_inputs(params, op.num_tokens, thread);
    team_.barrier();
    route(op, thread);
    team_.barrier();
    if (thread == 0) {
      plan_experts(op.routing, op.num_tokens);
      plan_networks(op);
    }
    team_.barrier();
    const IndexRange rows = static_share(num_pairs, 1, thread, team_.size());
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      expert_inputs_.copy_row(inputs_, expert_plan_.tokens[static_cast<size_t>(row)], row);
    }
    team_.barrier();
    run_networks(op.rounding, thread);
  });
}

}  // namespace fathom
