#include "cli/generate.h"

#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/file.h"
#include "cli/console.h"

namespace fathom {
namespace {

// The first token belongs to the prompt's time.
int64_t decoded_tokens(const GeneratedText& text) {
  return std::max(std::ssize(text.ids) - 1, std::ptrdiff_t{0});
}

void record(GeneratedText& text, const RequestEvent& event, double now) {
  if (event.token_id) {
    if (text.ids.empty()) {
      text.prefill_seconds = now;
    } else {
      text.decode_seconds = now - text.prefill_seconds;
    }
    text.ids.push_back(*event.token_id);
  }
  text.text += event.text;
  if (event.finish_reason != FinishReason::kNone) text.finish_reason = event.finish_reason;
  if (!event.status.ok()) text.status = event.status;
}

// Takes requests through an engine and counts what each step gives.
class Generator {
 public:
  Generator(Engine& engine, const GenerateHooks& hooks, size_t num_requests)
      : engine_(engine), hooks_(hooks), started_(monotonic_seconds()), texts_(num_requests) {}

  Status submit(size_t index, const Request& request) {
    GeneratedText& text = texts_[index];
    text.prompt_ids = request.prompt_ids;
    const auto listener = [this, &text, index](const RequestEvent& event) {
      if (event.token_id) ++(text.ids.empty() ? step_.num_first : step_.num_later);
      record(text, event, monotonic_seconds() - started_);
      if (hooks_.text && !event.text.empty()) hooks_.text(index, event.text);
    };
    Result<RequestId> id = engine_.submit(request, listener);
    // The line is full: let some requests end first.
    while (!id.ok() && id.status().code() == ErrorCode::kResourceExhausted && engine_.has_work()) {
      FATHOM_RETURN_IF_ERROR(step());
      id = engine_.submit(request, listener);
    }
    if (id.ok()) {
      ids_.push_back(*id);
    } else {
      text.status = id.status();
      text.finish_reason = FinishReason::kError;
    }
    return ok_status();
  }

  Status step() {
    if (hooks_.stop && hooks_.stop()) {
      for (RequestId id : ids_) engine_.cancel(id);
      ids_.clear();
    }
    if (!engine_.has_work()) return ok_status();
    step_ = {};
    const double begun = monotonic_seconds();
    FATHOM_RETURN_IF_ERROR(engine_.step());
    step_.seconds = monotonic_seconds() - begun;
    if (hooks_.steps != nullptr) hooks_.steps->push_back(step_);
    return ok_status();
  }

  std::vector<GeneratedText> take() { return std::move(texts_); }

 private:
  Engine& engine_;
  const GenerateHooks& hooks_;
  double started_;
  std::vector<GeneratedText> texts_;
  std::vector<RequestId> ids_;
  StepTime step_;
};

}  // namespace

double per_second(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

Result<std::vector<GeneratedText>> generate(Engine& engine, const std::vector<Request>& requests,
                                            const GenerateHooks& hooks) {
  Generator generator(engine, hooks, requests.size());
  for (size_t i = 0; i < requests.size(); ++i) FATHOM_RETURN_IF_ERROR(generator.submit(i, requests[i]));
  while (engine.has_work()) FATHOM_RETURN_IF_ERROR(generator.step());
  FATHOM_RETURN_IF_ERROR(engine.recount());
  return generator.take();
}

Status report(const std::vector<GeneratedText>& texts, const ReportOptions& options, double seconds,
              const SpeculationStatistics& speculation) {
  if (options.json) {
    Json all = Json::array();
    for (const GeneratedText& text : texts) all.push_back(to_json(text));
    print_json(texts.size() == 1 ? all[0] : all);
  }
  if (options.stats) std::fprintf(stderr, "%s\n", statistics_line(texts, seconds, speculation).c_str());
  for (const GeneratedText& text : texts) FATHOM_RETURN_IF_ERROR(text.status);
  return ok_status();
}

Json to_json(const GeneratedText& text) {
  return {
      {"prompt_ids", text.prompt_ids},
      {"ids", text.ids},
      {"text", text.text},
      {"finish_reason", finish_reason_name(text.finish_reason)},
      {"prefill_seconds", text.prefill_seconds},
      {"decode_seconds", text.decode_seconds},
      {"prefill_tokens_per_second", per_second(std::ssize(text.prompt_ids), text.prefill_seconds)},
      {"decode_tokens_per_second", per_second(decoded_tokens(text), text.decode_seconds)},
  };
}

Status write_steps(const std::string& path, const std::vector<StepTime>& steps) {
  Json list = Json::array();
  for (const StepTime& step : steps) {
    list.push_back(
        {{"seconds", step.seconds}, {"first_tokens", step.num_first}, {"later_tokens", step.num_later}});
  }
  return write_file(path, dump_json(list) + "\n");
}

std::string statistics_line(const std::vector<GeneratedText>& texts, double seconds,
                            const SpeculationStatistics& speculation) {
  const std::string by_model =
      speculation.num_draft_model_tokens == 0
          ? ""
          : fmt::format(", the draft model computed {}", speculation.num_draft_model_tokens);
  const std::string drafts =
      speculation.num_drafts == 0
          ? ""
          : fmt::format("; {} of {} drafted tokens held", speculation.num_accepted, speculation.num_drafts) +
                by_model;
  if (texts.size() == 1) {
    const GeneratedText& one = texts[0];
    return fmt::format(
        "prompt {} tokens in {:.3f} s ({:.0f}/s), answer {} tokens in {:.3f} s ({:.0f}/s), {}{}",
        one.prompt_ids.size(), one.prefill_seconds,
        per_second(std::ssize(one.prompt_ids), one.prefill_seconds), one.ids.size(), one.decode_seconds,
        per_second(decoded_tokens(one), one.decode_seconds), finish_reason_name(one.finish_reason), drafts);
  }
  int64_t prompt_tokens = 0, tokens = 0;
  for (const GeneratedText& text : texts) {
    prompt_tokens += std::ssize(text.prompt_ids);
    tokens += std::ssize(text.ids);
  }
  return fmt::format("{} prompts of {} tokens, {} tokens generated in {:.3f} s ({:.0f}/s){}", texts.size(),
                     prompt_tokens, tokens, seconds, per_second(tokens, seconds), drafts);
}

}  // namespace fathom
