#include "evaluate/compare.h"

#include <algorithm>

#include "base/function_ref.h"
#include "sample/log_softmax.h"

namespace fathom {
namespace {

// Logits [rows, vocab_size] that predict the tokens from first on.
using PredictionSink = FunctionRef<Status(int64_t first, std::span<const float> logits)>;

Status check_finite(const TextWindows& windows, int64_t first, std::span<const float> logits, size_t width) {
  for (size_t row = 0; row * width < logits.size(); ++row) {
    if (all_finite(logits.subspan(row * width, width))) continue;
    const TokenPlace place = windows.place(first + static_cast<int64_t>(row));
    return invalid_data("the logits that predict token {} of {} (byte {}) are not finite", place.token,
                        place.path, place.byte);
  }
  return ok_status();
}

struct Pass {
  const char* name;  // for progress
  ProgressSink* progress;
};

// Hands the logits of every window to sink, in order.
Status predict(Engine& engine, const TextWindows& windows, const Pass& pass, PredictionSink sink) {
  const auto width = static_cast<size_t>(engine.config().vocab_size);
  for (const Window& window : windows.windows()) {
    const auto take = [&](int64_t position, std::span<const float> logits) -> Status {
      // The window's last token is followed by nothing that it could predict.
      const int64_t rows =
          std::min(static_cast<int64_t>(logits.size() / width), TextWindows::size_of(window) - position);
      const int64_t first = window.first + position;
      const auto predictions = logits.first(static_cast<size_t>(rows) * width);
      FATHOM_RETURN_IF_ERROR(check_finite(windows, first, predictions, width));
      FATHOM_RETURN_IF_ERROR(sink(first, predictions));
      if (pass.progress != nullptr) {
        pass.progress->report(pass.name, static_cast<uint64_t>(first + rows),
                              static_cast<uint64_t>(windows.num_tokens()));
      }
      return ok_status();
    };
    FATHOM_RETURN_IF_ERROR(engine.score(windows.model_input(window), take));
  }
  return ok_status();
}

uint64_t offset_of(int64_t token, int64_t vocab_size) {
  return static_cast<uint64_t>(token) * static_cast<uint64_t>(vocab_size) * sizeof(float);
}

}  // namespace

uint64_t kept_bytes(const TextWindows& windows, int64_t vocab_size) {
  return offset_of(windows.num_tokens(), vocab_size);
}

Status keep_logits(Engine& a, const TextWindows& windows, ScratchFile& kept, ProgressSink* progress) {
  const int64_t vocab_size = a.config().vocab_size;
  return predict(a, windows, {"pass 1 of 2", progress}, [&](int64_t first, std::span<const float> logits) {
    return kept.write_at(offset_of(first, vocab_size), std::as_bytes(logits));
  });
}

Result<DivergenceSummary> compare_with_kept(Engine& b, const TextWindows& windows, const ScratchFile& kept,
                                            ProgressSink* progress) {
  const int64_t vocab_size = b.config().vocab_size;
  const auto width = static_cast<size_t>(vocab_size);
  DivergenceCollector collector;
  std::vector<float> row_a(width);
  const auto compare = [&](int64_t first, std::span<const float> logits) -> Status {
    for (size_t row = 0; row * width < logits.size(); ++row) {
      const int64_t index = first + static_cast<int64_t>(row);
      FATHOM_RETURN_IF_ERROR(
          kept.read_at(offset_of(index, vocab_size), std::as_writable_bytes(std::span(row_a))));
      collector.add(diverge(row_a, logits.subspan(row * width, width), windows.token(index)));
    }
    return ok_status();
  };
  FATHOM_RETURN_IF_ERROR(predict(b, windows, {"pass 2 of 2", progress}, compare));
  return collector.summary();
}

}  // namespace fathom
