#include "client/openai_api.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

const Url kUrl = *parse_url("http://h:1");

ClientReply event_stream() {
  return {.status = ok_status(), .code = 200, .content_type = "text/event-stream", .is_event_stream = true};
}

TEST(ReplyStatus, OneLineWithStatusMessageAndCure) {
  const ClientReply full = {
      .status = ok_status(), .code = 429, .retry_after = 2, .body = R"({"error": {"message": "full\nup"}})"};
  EXPECT_EQ(reply_status(full, kUrl).message(), "http://h:1: status 429: full up (try again in 2 s)");
  EXPECT_EQ(reply_status(full, kUrl).code(), ErrorCode::kResourceExhausted);
  const ClientReply key = {.status = ok_status(), .code = 401, .body = R"({"detail": "who?"})"};
  EXPECT_EQ(reply_status(key, kUrl).message(),
            "http://h:1: status 401: who? (keys come by --api-key or FATHOM_API_KEY)");
  const ClientReply page = {
      .status = ok_status(), .code = 500, .body = "<html>\x1b[31m" + std::string(1000, 'x')};
  const std::string line = reply_status(page, kUrl).message();
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_LT(line.size(), 400u);
}

TEST(CompletionStream, ChatPieces) {
  CompletionStream stream(CompletionApi::kChat, kUrl);
  EXPECT_FALSE(stream.take(R"({"choices": [{"delta": {"role": "assistant", "content": ""}}]})").is_token);
  const auto piece =
      stream.take(R"({"choices": [{"delta": {"content": "Hi"}, "finish_reason": null}], "usage": null})");
  EXPECT_TRUE(piece.is_token);
  EXPECT_EQ(piece.text, "Hi");
  EXPECT_FALSE(stream.take(R"({"choices": [{"delta": {}, "finish_reason": "length"}]})").is_token);
  EXPECT_FALSE(
      stream.take(R"({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}})").is_token);
  stream.take("[DONE]");
  EXPECT_TRUE(stream.finish(event_stream()).ok());
  EXPECT_EQ(stream.finish_reason(), "length");
  EXPECT_EQ(stream.prompt_tokens(), 5);
  EXPECT_EQ(stream.completion_tokens(), 1);
}

TEST(CompletionStream, TextPiecesMayBeEmptyTokens) {
  CompletionStream stream(CompletionApi::kText, kUrl);
  EXPECT_TRUE(stream.take(R"({"choices": [{"text": "", "finish_reason": null}]})").is_token);
  EXPECT_TRUE(stream.take(R"({"choices": [{"text": "a", "finish_reason": "stop"}]})").is_token);
  EXPECT_FALSE(stream.take(R"({"choices": [{"text": "", "finish_reason": "stop"}]})").is_token);
}

TEST(CompletionStream, WhatIsWrong) {
  const auto after = [](const char* event) {
    CompletionStream stream(CompletionApi::kText, kUrl);
    stream.take(R"({"choices": [{"text": "a"}]})");
    if (event != nullptr) stream.take(event);
    return stream.finish(event_stream()).message();
  };
  EXPECT_NE(after(nullptr).find("ended before the answer"), std::string::npos);
  EXPECT_NE(after(R"({"error": {"message": "dead engine"}})").find("broke off: dead engine"),
            std::string::npos);
  EXPECT_NE(after("hello").find("no JSON object: hello"), std::string::npos);
  ClientReply page = {.status = ok_status(), .code = 200, .content_type = "text/html"};
  CompletionStream stream(CompletionApi::kChat, kUrl);
  EXPECT_NE(stream.finish(page).message().find("no event stream but \"text/html\""), std::string::npos);
}

}  // namespace
}  // namespace fathom
