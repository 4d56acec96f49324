// The text of an answer as what it says: text for the reader, and calls of tools. Works on a stream; what may
// turn out to be a call is held back until that is certain.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/chat/tool_use.h"

namespace fathom {

// Pieces in their order; a call's arguments follow it, in any number of pieces.
struct AnswerPiece {
  enum class Kind : uint8_t { kText, kCall, kArguments };
  Kind kind = Kind::kText;
  std::string text;  // of kCall: the function's name

  bool operator==(const AnswerPiece&) const = default;
};

class AnswerParser {
 public:
  AnswerParser() = default;  // everything is text
  explicit AnswerParser(const ToolUse& use) : use_(use) {}

  // What is certain after this text.
  std::vector<AnswerPiece> push(std::string_view text);
  // The answer has ended: what was held back.
  std::vector<AnswerPiece> finish();
  int32_t num_calls() const { return num_calls_; }

 private:
  void push_free(std::string_view text);
  void push_forced(std::string_view text);
  void forced_string_end();
  void read_outside();
  void read_inside();
  bool add_call(std::string_view body);
  bool add_json_call(std::string_view body);
  bool add_deep_seek_call(std::string_view body);
  void begin_call(std::string name);
  void add(AnswerPiece::Kind kind, std::string_view text);

  ToolUse use_;
  std::vector<AnswerPiece> pieces_;
  int32_t num_calls_ = 0;

  // Free answers.
  std::string held_;
  bool inside_ = false;
  size_t searched_ = 0;  // bytes of a call in which its end does not begin

  // Forced ones: a JSON array of {"name": .., "arguments": {..}} in just this order.
  int num_strings_ = 0;  // complete ones of the object before its arguments
  int depth_ = 0;        // of brackets in the arguments; 0: outside them
  bool in_string_ = false;
  bool escaped_ = false;
  std::string string_;
};

}  // namespace fathom
