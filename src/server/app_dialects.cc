// The routes of the other protocols for chats: OpenAI's responses and Anthropic's messages.
#include "server/answer_exchange.h"
#include "server/anthropic/messages_reply.h"
#include "server/anthropic/messages_request.h"
#include "server/app.h"
#include "server/openai/responses_reply.h"
#include "server/openai/responses_request.h"

namespace fathom {

std::shared_ptr<Exchange> App::responses(HttpRequest request, ResponseWriter& writer) {
  if (!model_) {
    writer.reply(error_reply(unavailable("the model is being loaded")));
    return nullptr;
  }
  auto format = std::make_unique<ResponsesWriter>(request.id, *model_);
  ResponsesWriter* shown = format.get();
  // The members that the response shows again, from the worker to here.
  const auto echoed = std::make_shared<Json>(Json::object());
  auto exchange = std::make_shared<AnswerExchange>(client_, writer, std::move(format));
  prepare(
      std::move(request), exchange,
      [this, echoed](const Json& body, const ServedModel& model) -> Parsed {
        auto parsed = parse_responses(body, model, options_.limits);
        if (const auto* error = std::get_if<ApiError>(&parsed)) return *error;
        auto& made = std::get<ResponsesRequest>(parsed);
        *echoed = std::move(made.echoed);
        return std::move(made.completion);
      },
      [shown, echoed, target = exchange.get()](Parsed& parsed) {
        shown->set_echoed(std::move(*echoed));
        target->start(std::move(parsed));
      });
  return exchange;
}

std::shared_ptr<Exchange> App::messages(HttpRequest request, ResponseWriter& writer) {
  if (!model_) {
    writer.reply(anthropic_error_reply(unavailable("the model is being loaded"), request.id));
    return nullptr;
  }
  auto exchange = std::make_shared<AnswerExchange>(client_, writer,
                                                   std::make_unique<MessagesWriter>(request.id, *model_));
  prepare(
      std::move(request), exchange,
      [this](const Json& body, const ServedModel& model) {
        return parse_anthropic_messages(body, MessagesPurpose::kAnswer, model, options_.limits);
      },
      [target = exchange.get()](Parsed& parsed) { target->start(std::move(parsed)); });
  return exchange;
}

std::shared_ptr<Exchange> App::count_tokens(HttpRequest request, ResponseWriter& writer) {
  const std::string id = request.id;
  return compute(std::move(request), writer, [this, id](const Json& body, const ServedModel& model) {
    const auto parsed = parse_anthropic_messages(body, MessagesPurpose::kCount, model, options_.limits);
    if (const auto* error = std::get_if<ApiError>(&parsed)) return anthropic_error_reply(*error, id);
    const auto& prompt = std::get<CompletionRequest>(parsed).generation.prompts.at(0);
    return HttpReply{.body = dump_json({{"input_tokens", prompt.size()}})};
  });
}

}  // namespace fathom
