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
  auto exchange = std::make_shared<AnswerExchange>(client_, writer);
  // The members that the response shows again, from the worker to here.
  const auto echoed = std::make_shared<Json>();
  const std::string id = request.id;
  prepare(
      std::move(request), exchange,
      [this, echoed](const Json& body, const ServedModel& model) -> Parsed {
        auto parsed = parse_responses(body, model, options_.limits);
        if (const auto* error = std::get_if<ApiError>(&parsed)) return *error;
        auto& made = std::get<ResponsesRequest>(parsed);
        *echoed = std::move(made.echoed);
        return std::move(made.completion);
      },
      [this, echoed, id, target = exchange.get()](Parsed& parsed) {
        if (const auto* error = std::get_if<ApiError>(&parsed)) return target->refuse(error_reply(*error));
        target->start(std::get<CompletionRequest>(std::move(parsed)),
                      std::make_unique<ResponsesWriter>(id, *model_, std::move(*echoed)));
      });
  return exchange;
}

std::shared_ptr<Exchange> App::messages(HttpRequest request, ResponseWriter& writer) {
  if (!model_) {
    writer.reply(anthropic_error_reply(unavailable("the model is being loaded"), request.id));
    return nullptr;
  }
  auto exchange = std::make_shared<AnswerExchange>(client_, writer);
  const std::string id = request.id;
  prepare(
      std::move(request), exchange,
      [this](const Json& body, const ServedModel& model) {
        return parse_anthropic_messages(body, MessagesPurpose::kAnswer, model, options_.limits);
      },
      [this, id, target = exchange.get()](Parsed& parsed) {
        if (const auto* error = std::get_if<ApiError>(&parsed)) {
          return target->refuse(anthropic_error_reply(*error, id));
        }
        target->start(std::get<CompletionRequest>(std::move(parsed)),
                      std::make_unique<MessagesWriter>(id, *model_));
      });
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
