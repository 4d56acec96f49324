// Cuts a template into text and the tokens of its tags, with the white space rules that Hugging Face's chat
// templates rely on: trim_blocks and lstrip_blocks on, one trailing newline dropped, all line ends "\n".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fathom::jinja {

struct Token {
  enum class Kind {
    kText,        // between tags, stripped as the tags around it ask
    kPrintBegin,  // {{
    kPrintEnd,    // }}
    kTagBegin,    // {%
    kTagEnd,      // %}
    kName,
    kString,  // text: what it stands for, escapes resolved
    kInteger,
    kFloat,
    kOperator,
    kEnd,  // of the template
  };
  Kind kind;
  std::string text;
  int line;

  bool is(Kind wanted, std::string_view value) const { return kind == wanted && text == value; }
};

// source: well-formed UTF-8. The last token is kEnd. Errors name the line.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace fathom::jinja
