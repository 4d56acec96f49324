// What every backend needs to know of a weight's source before it packs it.
#pragma once

#include "base/status.h"
#include "device/weights.h"

namespace fathom {

// Shape and formats; no memory yet.
Weight describe(const WeightSource& source, kernels::PanelOrder order);

// kUnsupported where gate and up, which become one matrix, are stored differently.
Status check_gate_and_up(const WeightSource& gate, const WeightSource& up);

// The scales of integers in the order of the panels' outputs, those of second (or null) as kGateUpPairs has
// them. Those of padding are not written.
void spread_scales(const WeightSource& source, const WeightSource* second, float* scales);

}  // namespace fathom
