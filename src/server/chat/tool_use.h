// Tools of a request: which there are, whether the answer has to call them, and how calls are written in the
// text that the model reads and writes.
#pragma once

#include <string>
#include <string_view>

#include "server/api_error.h"
#include "server/request_fields.h"
#include "text/chat_template.h"

namespace fathom {

// How the model writes calls where nothing forces it.
enum class CallSyntax : uint8_t {
  kTags,      // <tool_call>{"name": .., "arguments": {..}}</tool_call>: ours, and that of many templates
  kDeepSeek,  // function<sep>NAME and a code block of JSON, between the special tokens of DeepSeek-V2.5
};

struct CallSyntaxText {
  std::string_view open, close;            // around one call
  std::string_view list_open, list_close;  // around all calls of an answer; empty: nothing
};
const CallSyntaxText& syntax_of(CallSyntax syntax);
extern const std::string_view kDeepSeekSeparator;

// What a model's chat template does about tools; found out by rendering with it.
struct ToolFormat {
  CallSyntax syntax = CallSyntax::kTags;
  bool lists_tools = false;  // has a place for them; otherwise the system message gets them
  bool has_calls = false;    // has places for tool_calls and the role tool; otherwise they become text
  bool arguments_are_object = false;  // it wants a call's arguments as an object, not as OpenAI's string
};
ToolFormat find_tool_format(const ChatTemplate& chat_template);

inline constexpr size_t kMaxTools = 128;
inline constexpr size_t kMaxToolNameBytes = 64;

struct ToolUse {
  enum class Choice : uint8_t {
    kNone,
    kAuto,    // the model decides
    kForced,  // the answer is a JSON array of calls, held to it by a constraint
  };
  Choice choice = Choice::kNone;
  CallSyntax syntax = CallSyntax::kTags;
  bool is_parallel = true;  // more calls than one in an answer
  // The list as OpenAI's "tools" has it, [{"type": "function", "function": {"name", ..}}]; null: none to
  // show.
  Json tools = {};
  std::string forced_name = {};  // the one that has to be called; empty: any
};

// tools, tool_choice, parallel_tool_calls. Errors stay with fields.
ToolUse read_tool_use(RequestFields& fields, const ToolFormat& format);

// The JSON schema of an answer that is forced to call. The error goes on after the word "tools".
Result<Json> forced_calls_schema(const ToolUse& use);

}  // namespace fathom
