// The linears of one thread, one behind the other. Each runs when the next one is known, so that its kernel
// can fetch the next one's first weights from memory while it still multiplies.
#pragma once

#include <algorithm>

#include "kernels/kernel_table.h"

namespace fathom {

class LinearStream {
 public:
  LinearStream() = default;
  ~LinearStream() { finish(); }
  LinearStream(const LinearStream&) = delete;
  LinearStream& operator=(const LinearStream&) = delete;

  // Runs what was added before; what params point to must stay until the next call.
  void add(const kernels::Kernel<kernels::LinearParams>& kernel, const kernels::LinearParams& params) {
    if (kernel_ != nullptr) {
      const int64_t bytes = kernels::panel_bytes(params.num_inputs, params.format);
      params_.next_panels = static_cast<const char*>(params.panels) + params.begin * bytes;
      params_.next_bytes = std::min(params.end - params.begin, kFetchedPanels) * bytes;
    }
    finish();
    kernel_ = &kernel;
    params_ = params;
  }

  // Runs the last one. Results that other threads wait for are complete only then.
  void finish() {
    if (kernel_ != nullptr) (*kernel_)(params_);
    kernel_ = nullptr;
  }

 private:
  // What tiles take side by side.
  static constexpr int64_t kFetchedPanels = 2;

  const kernels::Kernel<kernels::LinearParams>* kernel_ = nullptr;
  kernels::LinearParams params_;
};

}  // namespace fathom
