#include "cli/generate.h"

#include "base/clock.h"

namespace fathom {
namespace {

double per_second(size_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

// The first token belongs to the prompt's time.
size_t decoded_tokens(const GeneratedText& generation) {
  return generation.ids.empty() ? 0 : generation.ids.size() - 1;
}

void record(GeneratedText& generation, const RequestEvent& event, double now) {
  if (event.token_id) {
    if (generation.ids.empty()) {
      generation.prefill_seconds = now;
    } else {
      generation.decode_seconds = now - generation.prefill_seconds;
    }
    generation.ids.push_back(*event.token_id);
  }
  generation.text += event.text;
  if (event.finish_reason != FinishReason::kNone) generation.finish_reason = event.finish_reason;
  if (!event.status.ok()) generation.status = event.status;
}

}  // namespace

Result<std::vector<GeneratedText>> generate(Engine& engine, const std::vector<std::vector<int32_t>>& prompts,
                                            const SamplingParams& sampling, const TextSink& sink,
                                            const StopCheck& stop) {
  std::vector<RequestId> ids;
  std::vector<GeneratedText> generations(prompts.size());
  const double started = monotonic_seconds();
  for (size_t i = 0; i < prompts.size(); ++i) {
    GeneratedText& generation = generations[i];
    generation.prompt_ids = prompts[i];
    const auto listener = [&generation, &sink, i, started](const RequestEvent& event) {
      record(generation, event, monotonic_seconds() - started);
      if (sink && !event.text.empty()) sink(i, event.text);
    };
    Result<RequestId> id = engine.submit({prompts[i], sampling}, listener);
    // The line is full: let some requests end first.
    while (!id.ok() && id.status().code() == ErrorCode::kResourceExhausted && engine.has_work()) {
      FATHOM_RETURN_IF_ERROR(engine.step());
      id = engine.submit({prompts[i], sampling}, listener);
    }
    if (id.ok()) {
      ids.push_back(*id);
    } else {
      generation.status = id.status();
      generation.finish_reason = FinishReason::kError;
    }
  }
  while (engine.has_work()) {
    if (stop && stop()) {
      for (RequestId id : ids) engine.cancel(id);
      ids.clear();
    }
    if (engine.has_work()) FATHOM_RETURN_IF_ERROR(engine.step());
  }
  return generations;
}

Json to_json(const GeneratedText& generation) {
  return {
      {"prompt_ids", generation.prompt_ids},
      {"ids", generation.ids},
      {"text", generation.text},
      {"finish_reason", finish_reason_name(generation.finish_reason)},
      {"prefill_seconds", generation.prefill_seconds},
      {"decode_seconds", generation.decode_seconds},
      {"prefill_tokens_per_second", per_second(generation.prompt_ids.size(), generation.prefill_seconds)},
      {"decode_tokens_per_second", per_second(decoded_tokens(generation), generation.decode_seconds)},
  };
}

std::string statistics_line(const std::vector<GeneratedText>& generations, double seconds) {
  if (generations.size() == 1) {
    const GeneratedText& one = generations[0];
    return fmt::format("prompt {} tokens in {:.3f} s ({:.0f}/s), answer {} tokens in {:.3f} s ({:.0f}/s), {}",
                       one.prompt_ids.size(), one.prefill_seconds,
                       per_second(one.prompt_ids.size(), one.prefill_seconds), one.ids.size(),
                       one.decode_seconds, per_second(decoded_tokens(one), one.decode_seconds),
                       finish_reason_name(one.finish_reason));
  }
  size_t prompt_tokens = 0, tokens = 0;
  for (const GeneratedText& generation : generations) {
    prompt_tokens += generation.prompt_ids.size();
    tokens += generation.ids.size();
  }
  return fmt::format("{} prompts of {} tokens, {} tokens generated in {:.3f} s ({:.0f}/s)",
                     generations.size(), prompt_tokens, tokens, seconds, per_second(tokens, seconds));
}

}  // namespace fathom
