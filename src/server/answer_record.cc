#include "server/answer_record.h"

#include "base/clock.h"

namespace fathom {
namespace {

double milliseconds(double from, double to) { return from == 0 || to < from ? 0.0 : (to - from) * 1e3; }

double per_second(double count, double ms) { return ms > 0 ? count / ms * 1e3 : 0; }

}  // namespace

void AnswerRecord::begin(int64_t prompt_tokens, size_t num_sequences, int32_t n) {
  submitted_ = monotonic_seconds();
  usage_.prompt_tokens = prompt_tokens;
  ends_.assign(num_sequences, FinishReason::kNone);
  n_ = n;
}

void AnswerRecord::observe(const GenerationEvent& event) {
  if (event.kind == GenerationEventKind::kStarted && started_ == 0) started_ = event.time;
  if (event.ends()) end(static_cast<size_t>(event.index), event.finish_reason);
  if (event.kind != GenerationEventKind::kToken) return;
  if (first_token_ == 0) first_token_ = event.time;
  last_token_ = event.time;
  ++usage_.completion_tokens;
  // The choices of a prompt have it in common.
  if (event.index % n_ == 0) usage_.cached_tokens += event.cached_tokens;
}

std::string AnswerRecord::log_note() const {
  std::string reasons;
  for (FinishReason reason : ends_) {
    reasons += reasons.empty() ? "" : ",";
    reasons += reason == FinishReason::kNone ? "none" : finish_reason_name(reason);
  }
  const auto sequences = static_cast<double>(ends_.size());
  const double later_tokens = static_cast<double>(usage_.completion_tokens) - sequences;
  return fmt::format(
      " prompt_tokens={} cached_tokens={} output_tokens={} queue_ms={:.1f} ttft_ms={:.1f} tpot_ms={:.2f} "
      "finish={}",
      usage_.prompt_tokens, usage_.cached_tokens, usage_.completion_tokens,
      milliseconds(submitted_, started_), milliseconds(submitted_, first_token_),
      later_tokens > 0 ? milliseconds(first_token_, last_token_) * sequences / later_tokens : 0, reasons);
}

Json AnswerRecord::timings_json() const {
  const double prompt_ms = milliseconds(started_, first_token_);
  const double predicted_ms = milliseconds(first_token_, last_token_);
  const int64_t computed = usage_.prompt_tokens - usage_.cached_tokens;
  // The first token comes with the prompt.
  const auto later = static_cast<double>(std::max<int64_t>(0, usage_.completion_tokens - 1));
  return {{"cache_n", usage_.cached_tokens},
          {"prompt_n", computed},
          {"prompt_ms", prompt_ms},
          {"prompt_per_second", per_second(static_cast<double>(computed), prompt_ms)},
          {"predicted_n", usage_.completion_tokens},
          {"predicted_ms", predicted_ms},
          {"predicted_per_second", per_second(later, predicted_ms)}};
}

}  // namespace fathom
