#include "checkpoint/digests.h"

#include <algorithm>
#include <span>

#include "base/checksum.h"

namespace fathom {

std::string shape_digest(const Checkpoint& checkpoint) {
  std::string text;
  for (std::string_view name : checkpoint.names()) {
    const auto view = checkpoint.tensor(name);
    if (view.ok()) text += fmt::format("{} {} {}\n", name, to_string(view->shape), dtype_name(view->dtype));
  }
  return checksum_of(text);
}

std::string sample_digest(const Checkpoint& checkpoint) {
  constexpr size_t kMostTensors = 1024;
  constexpr size_t kSampleBytes = 64;
  Checksum sum;
  const size_t step = checkpoint.names().size() / kMostTensors + 1;
  for (size_t i = 0; i < checkpoint.names().size(); i += step) {
    const std::string_view name = checkpoint.names()[i];
    const auto view = checkpoint.tensor(name);
    if (!view.ok()) continue;
    const std::span bytes(static_cast<const std::byte*>(view->data), view->num_bytes());
    const size_t size = std::min(kSampleBytes, bytes.size());
    sum.update(bytes.first(size));
    sum.update(bytes.subspan((bytes.size() - size) / 2, size));
    checkpoint.release(name);  // the system may have mapped much around the samples
  }
  return sum.hex();
}

}  // namespace fathom
