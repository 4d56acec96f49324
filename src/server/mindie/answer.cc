#include "server/mindie/answer.h"

#include "server/generation_exchange.h"
#include "server/mindie/error.h"
#include "server/sse.h"

namespace fathom::mindie {

HttpReply AnswerForm::stream_head() const { return event_stream_head(); }

std::string AnswerForm::stream_error(const ApiError& error) const {
  return sse_event(dump_json(refusal_json(error)));
}

std::string_view finish_name(const Answer& answer, const ServedModel& model) {
  if (answer.finish_reason != FinishReason::kStop) return finish_reason_name(answer.finish_reason);
  const bool at_end = !answer.tokens.empty() && model.is_end_token(answer.tokens.back().id);
  return at_end ? "eos_token" : "stop_sequence";
}

Json details_json(const Answer& answer, const ServedModel& model, uint64_t seed) {
  return {{"finish_reason", finish_name(answer, model)},
          {"generated_tokens", answer.tokens.size()},
          {"seed", seed}};
}

}  // namespace fathom::mindie
