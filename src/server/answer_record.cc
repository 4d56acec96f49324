#include "server/answer_record.h"

#include "base/clock.h"

namespace fathom {
namespace {

double milliseconds(double from, double to) { return from == 0 || to < from ? 0.0 : (to - from) * 1e3; }

}  // namespace

void AnswerRecord::submit(int64_t prompt_tokens, size_t num_sequences) {
  submitted_ = monotonic_seconds();
  prompt_tokens_ = prompt_tokens;
  ends_.assign(num_sequences, FinishReason::kNone);
}

void AnswerRecord::observe(const GenerationEvent& event) {
  if (event.kind == GenerationEventKind::kStarted && started_ == 0) started_ = event.time;
  if (event.kind == GenerationEventKind::kToken) {
    if (first_token_ == 0) first_token_ = event.time;
    last_token_ = event.time;
    ++output_tokens_;
    cached_tokens_ += event.cached_tokens;
  }
  if (event.ends()) ends_[static_cast<size_t>(event.index)] = event.finish_reason;
}

std::string AnswerRecord::log_note() const {
  std::string reasons;
  for (FinishReason end : ends_) {
    reasons += reasons.empty() ? "" : ",";
    reasons += end == FinishReason::kNone ? "none" : finish_reason_name(end);
  }
  const auto num_sequences = static_cast<double>(ends_.size());
  const auto later_tokens = static_cast<double>(output_tokens_) - num_sequences;
  return fmt::format(
      " prompt_tokens={} cached_tokens={} output_tokens={} queue_ms={:.1f} ttft_ms={:.1f} tpot_ms={:.2f} "
      "finish={}",
      prompt_tokens_, cached_tokens_, output_tokens_, milliseconds(submitted_, started_),
      milliseconds(submitted_, first_token_),
      later_tokens > 0 ? milliseconds(first_token_, last_token_) * num_sequences / later_tokens : 0, reasons);
}

}  // namespace fathom
