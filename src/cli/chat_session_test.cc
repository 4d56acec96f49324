#include "cli/chat_session.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

// Answers with how many messages it saw and the last one; refuses "fail".
class Echo : public ChatPartner {
 public:
  Result<ChatAnswer> answer(const Json& messages, const TextSink& sink) override {
    seen = messages;
    const std::string last = messages.back()["content"];
    if (last == "fail") return io_error("refused");
    ChatAnswer answer{.text = fmt::format("{} {}", messages.size(), last), .finish_reason = "stop"};
    sink(answer.text);
    return answer;
  }
  Json seen;
};

TEST(ChatSession, KeepsTheConversationAndForgetsWhatFailed) {
  Echo echo;
  ChatSession session(echo, {.system = "be brief", .json = true});
  EXPECT_TRUE(session.ask("one").ok());
  EXPECT_FALSE(session.ask("fail").ok());
  EXPECT_TRUE(session.ask("two").ok());
  const Json wanted = {{{"role", "system"}, {"content", "be brief"}},
                       {{"role", "user"}, {"content", "one"}},
                       {{"role", "assistant"}, {"content", "2 one"}},
                       {{"role", "user"}, {"content", "two"}}};
  EXPECT_EQ(echo.seen, wanted);
}

TEST(WithoutControls, LeavesTextAndDropsWhatTerminalsObey) {
  EXPECT_EQ(without_controls("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(without_controls("\x1b[31mred\x07\x7f\r"), "[31mred");
  EXPECT_EQ(without_controls("\xc2\x9b"
                             "31m\xc2\xa0\xe4\xbd\xa0"),
            "31m\xc2\xa0\xe4\xbd\xa0");
  EXPECT_EQ(without_controls("\xc2"), "\xc2");
}

}  // namespace
}  // namespace fathom
