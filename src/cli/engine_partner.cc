#include "cli/engine_partner.h"

#include "base/clock.h"
#include "cli/generate.h"
#include "cli/interrupt.h"

namespace fathom {

Result<ChatAnswer> EnginePartner::answer(const Json& messages, const TextSink& sink) {
  const bool raw = form_ == PromptForm::kRaw;
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                          raw ? reader_.from_text(messages.back()["content"].get<std::string>())
                              : reader_.from_messages(messages));
  const double started = monotonic_seconds();
  const auto pass_on = [&sink](size_t, std::string_view text) { sink(text); };
  FATHOM_ASSIGN_OR_RETURN(const std::vector<GeneratedText> answers,
                          generate(engine_, {{.prompt_ids = ids, .sampling = sampling_}},
                                   {.text = pass_on, .stop = interrupted}));
  FATHOM_RETURN_IF_ERROR(answers[0].status);
  return ChatAnswer{.text = answers[0].text,
                    .finish_reason = std::string(finish_reason_name(answers[0].finish_reason)),
                    .details = to_json(answers[0]),
                    .statistics = statistics_line(answers, monotonic_seconds() - started,
                                                  engine_.statistics().speculation)};
}

}  // namespace fathom
