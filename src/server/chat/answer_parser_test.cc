#include "server/chat/answer_parser.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

using PieceKind = AnswerPiece::Kind;

// What an answer says, pieces of a kind that follow each other put together. cut: bytes pushed at once.
std::vector<AnswerPiece> parse(const ToolUse& use, std::string_view text, size_t cut) {
  AnswerParser parser(use);
  std::vector<AnswerPiece> all;
  const auto take = [&all](std::vector<AnswerPiece> pieces) {
    for (AnswerPiece& piece : pieces) {
      if (!all.empty() && all.back().kind == piece.kind && piece.kind != PieceKind::kCall) {
        all.back().text += piece.text;
      } else {
        all.push_back(std::move(piece));
      }
    }
  };
  for (size_t i = 0; i < text.size(); i += cut) take(parser.push(text.substr(i, cut)));
  take(parser.finish());
  return all;
}

void expect(const ToolUse& use, std::string_view text, const std::vector<AnswerPiece>& wanted) {
  for (size_t cut : {size_t{1}, size_t{2}, size_t{7}, size_t{100000}}) {
    const std::vector<AnswerPiece> got = parse(use, text, cut);
    ASSERT_EQ(got.size(), wanted.size()) << text << " in pieces of " << cut;
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].text, wanted[i].text) << text << " in pieces of " << cut;
      EXPECT_EQ(got[i].kind, wanted[i].kind) << text << " in pieces of " << cut;
    }
  }
}

ToolUse use_of(ToolUse::Choice choice, CallSyntax syntax = CallSyntax::kTags) {
  ToolUse use;
  use.choice = choice;
  use.syntax = syntax;
  return use;
}

TEST(AnswerParserTest, WithoutToolsAllIsText) {
  expect({}, "a <tool_call>{}</tool_call> ", {{PieceKind::kText, "a <tool_call>{}</tool_call> "}});
  expect({}, "", {});
}

TEST(AnswerParserTest, CallsAmongText) {
  const ToolUse use = use_of(ToolUse::Choice::kAuto);
  expect(use,
         "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"</x\"]}}\n</tool_call>\n",
         {{PieceKind::kText, "Let me see."},
          {PieceKind::kCall, "f"},
          {PieceKind::kArguments, R"({"a":[1,"</x"]})"}});
  expect(use,
         "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>\n<tool_call>{\"name\": "
         "\"g\"}</tool_call> end",
         {{PieceKind::kCall, "f"},
          {PieceKind::kArguments, "{}"},
          {PieceKind::kCall, "g"},
          {PieceKind::kArguments, "{}"},
          {PieceKind::kText, " end"}});
  // The last tag may be missing.
  expect(use, "<tool_call>{\"name\": \"f\", \"arguments\": {}}",
         {{PieceKind::kCall, "f"}, {PieceKind::kArguments, "{}"}});
}

TEST(AnswerParserTest, WhatIsNoCallStaysText) {
  const ToolUse use = use_of(ToolUse::Choice::kAuto);
  for (const char* text :
       {"a < b <tool", "<tool_call>{\"name\": 5}</tool_call>", "<tool_call>nonsense</tool_call> more",
        "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"argum", " \n spaces \n  ", "</tool_call>"}) {
    expect(use, text, {{PieceKind::kText, text}});
  }
  const std::string spaces(1000, ' ');
  expect(use, "a" + spaces + "b", {{PieceKind::kText, "a" + spaces + "b"}});
}

TEST(AnswerParserTest, OneCallWhereMoreAreNotAllowed) {
  ToolUse use = use_of(ToolUse::Choice::kAuto);
  use.is_parallel = false;
  expect(use,
         "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>"
         "<tool_call>{\"name\": \"g\", \"arguments\": {\"b\": 1}}</tool_call>",
         {{PieceKind::kCall, "f"}, {PieceKind::kArguments, R"({"a":1})"}});
}

TEST(AnswerParserTest, DeepSeeksOwnForm) {
  const ToolUse use = use_of(ToolUse::Choice::kAuto, CallSyntax::kDeepSeek);
  expect(
      use,
      "So: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": "
      "\"Paris\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```"
      "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
      {{PieceKind::kText, "So:"},
       {PieceKind::kCall, "get_weather"},
       {PieceKind::kArguments, R"({"city":"Paris"})"},
       {PieceKind::kCall, "g"},
       {PieceKind::kArguments, "{}"}});
}

TEST(AnswerParserTest, ForcedCallsComeAsTheyAreWritten) {
  const ToolUse use = use_of(ToolUse::Choice::kForced);
  expect(use,
         "[\n  {\"name\": \"f\", \"arguments\": {\"name\": \"}]\\\"\", \"b\": [{}, 1]}}, "
         "{\"name\":\"g\",\"arguments\":{ }}]",
         {{PieceKind::kCall, "f"},
          {PieceKind::kArguments, "{\"name\": \"}]\\\"\", \"b\": [{}, 1]}"},
          {PieceKind::kCall, "g"},
          {PieceKind::kArguments, "{ }"}});
  // Cut by the limit on tokens.
  expect(use, "[{\"name\": \"f\", \"arguments\": {\"a\": \"x",
         {{PieceKind::kCall, "f"}, {PieceKind::kArguments, "{\"a\": \"x"}});
}

TEST(AnswerParserTest, ArgumentsOfForcedCallsStream) {
  AnswerParser parser(use_of(ToolUse::Choice::kForced));
  EXPECT_EQ(parser.push("[{\"name\": \"f\", \"arg").size(), 1u);
  EXPECT_EQ(parser.push("uments\": {\"a\""), (std::vector<AnswerPiece>{{PieceKind::kArguments, "{\"a\""}}));
  EXPECT_EQ(parser.num_calls(), 1);
}

}  // namespace
}  // namespace fathom
