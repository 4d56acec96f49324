#include "server/answer_times.h"

namespace fathom {
namespace {

double milliseconds(double from, double to) { return from == 0 || to < from ? 0.0 : (to - from) * 1e3; }

double per_second(double count, double ms) { return ms > 0 ? count / ms * 1e3 : 0; }

}  // namespace

void AnswerTimes::observe(const GenerationEvent& event) {
  if (event.kind == GenerationEventKind::kStarted && started_ == 0) started_ = event.time;
  if (event.kind != GenerationEventKind::kToken) return;
  if (first_token_ == 0) first_token_ = event.time;
  last_token_ = event.time;
}

std::string AnswerTimes::log_note(const Usage& usage, size_t num_sequences, const std::string& finish) const {
  const auto sequences = static_cast<double>(num_sequences);
  const double later_tokens = static_cast<double>(usage.completion_tokens) - sequences;
  return fmt::format(
      " prompt_tokens={} cached_tokens={} output_tokens={} queue_ms={:.1f} ttft_ms={:.1f} tpot_ms={:.2f} "
      "finish={}",
      usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, milliseconds(submitted_, started_),
      milliseconds(submitted_, first_token_),
      later_tokens > 0 ? milliseconds(first_token_, last_token_) * sequences / later_tokens : 0, finish);
}

Json AnswerTimes::timings_json(const Usage& usage) const {
  const double prompt_ms = milliseconds(started_, first_token_);
  const double predicted_ms = milliseconds(first_token_, last_token_);
  const int64_t computed = usage.prompt_tokens - usage.cached_tokens;
  // The first token comes with the prompt.
  const auto later = static_cast<double>(std::max<int64_t>(0, usage.completion_tokens - 1));
  return {{"cache_n", usage.cached_tokens},
          {"prompt_n", computed},
          {"prompt_ms", prompt_ms},
          {"prompt_per_second", per_second(static_cast<double>(computed), prompt_ms)},
          {"predicted_n", usage.completion_tokens},
          {"predicted_ms", predicted_ms},
          {"predicted_per_second", per_second(later, predicted_ms)}};
}

}  // namespace fathom
