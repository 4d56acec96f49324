#include "cli/server_partner.h"

#include "base/clock.h"
#include "cli/interrupt.h"
#include "client/openai_api.h"

namespace fathom {
namespace {

constexpr double kLookSeconds = 0.05;  // between looks for Ctrl-C

Json count_json(std::optional<int64_t> count) { return count ? Json(*count) : Json(nullptr); }

// Times in seconds.
void add_statistics(const CompletionStream& stream, double first, double whole, ChatAnswer& answer) {
  const int64_t tokens = stream.completion_tokens().value_or(0);
  answer.details = {{"text", answer.text},
                    {"finish_reason", answer.finish_reason},
                    {"prompt_tokens", count_json(stream.prompt_tokens())},
                    {"completion_tokens", count_json(stream.completion_tokens())},
                    {"first_token_seconds", first},
                    {"total_seconds", whole}};
  answer.statistics = fmt::format("first token after {:.3f} s, {:.3f} s in all", first, whole);
  if (tokens > 0)
    answer.statistics +=
        fmt::format(", prompt {} tokens, answer {} tokens", stream.prompt_tokens().value_or(0), tokens);
  if (tokens > 1 && whole > first)
    answer.statistics += fmt::format(" ({:.1f}/s)", static_cast<double>(tokens - 1) / (whole - first));
  answer.statistics += ", " + answer.finish_reason;
}

}  // namespace

Result<ChatAnswer> ServerPartner::answer(const Json& messages, const TextSink& sink) {
  Json body = {{"model", model_},
               {"messages", messages},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}}};
  body.update(sampling_);
  ChatAnswer answer;
  CompletionStream stream(CompletionApi::kChat, client_->url());
  Status status;
  const double started = monotonic_seconds();
  double first = 0;
  client_->start(
      {"POST", std::string(api_path(CompletionApi::kChat)), dump_json(body)},
      [&](std::string_view data) {
        const CompletionStream::Piece piece = stream.take(data);
        if (piece.is_token && first == 0) first = monotonic_seconds() - started;
        if (piece.text.empty()) return;
        answer.text += piece.text;
        sink(piece.text);
      },
      [&](const ClientReply& reply) { status = stream.finish(reply); });
  while (client_->run_for(kLookSeconds)) {
    if (interrupted()) client_->cancel_all();
  }
  const bool stopped = status.code() == ErrorCode::kCancelled;
  if (!stopped) FATHOM_RETURN_IF_ERROR(status);
  answer.finish_reason = stopped ? "cancelled" : stream.finish_reason();
  add_statistics(stream, first, monotonic_seconds() - started, answer);
  return answer;
}

}  // namespace fathom
