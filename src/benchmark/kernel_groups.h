// The groups of kernels, one file each: sections of the report, in order.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "benchmark/kernel_section.h"

namespace fathom {

// linear_bench.cc: products with weights, of attention, dense layers, router and head (kLinear) or of experts
// (kExperts); a section per format. Failure: no memory.
Result<std::vector<KernelSection>> bench_linears(const KernelBench& bench, KernelGroup group);
// attention_bench.cc: the kernels of both forms, a section per form and format of the cache.
Result<std::vector<KernelSection>> bench_attention(const KernelBench& bench);
// attention_forms_bench.cc: both forms through the backend.
Result<AttentionForms> bench_attention_forms(const KernelBench& bench);
// AttentionForms::crossover of these rows, by their best calls.
std::optional<double> crossover_of(std::span<const AttentionForms::Row> rows);
// small_bench.cc: what neither multiplies by weights nor attends.
Result<std::vector<KernelSection>> bench_small(const KernelBench& bench);

// How this model's activations are rounded.
kernels::ActivationRounding activation_rounding(const ModelConfig& config);

}  // namespace fathom
