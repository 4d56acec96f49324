// The tokens of a template, read one after the other by the two halves of the parser.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/jinja/lexer.h"

namespace fathom::jinja {

class TokenStream {
 public:
  // The last token is kEnd.
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  int line() const { return current().line; }

  Token next() {
    Token token = current();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }

  bool is_operator(std::string_view text) const { return current().is(Token::Kind::kOperator, text); }
  bool is_name(std::string_view text) const { return current().is(Token::Kind::kName, text); }
  bool is(Token::Kind kind) const { return current().kind == kind; }

  // Takes the token if it is the one named.
  bool take_operator(std::string_view text) { return take_if(is_operator(text)); }
  bool take_name(std::string_view text) { return take_if(is_name(text)); }

  Status expect_operator(std::string_view text) {
    return take_operator(text) ? ok_status() : error(fmt::format("expected \"{}\"", text));
  }
  Status expect_name(std::string_view text) {
    return take_name(text) ? ok_status() : error(fmt::format("expected \"{}\"", text));
  }
  Status expect(Token::Kind kind, std::string_view what) {
    return take_if(is(kind)) ? ok_status() : error(fmt::format("expected {}", what));
  }
  Result<std::string> expect_any_name() {
    if (!is(Token::Kind::kName)) return error("expected a name");
    return next().text;
  }

  // "line 3: what, found .."
  Status error(std::string_view what) const {
    return invalid_data("line {}: {}, found {}", line(), what, describe(current()));
  }

 private:
  bool take_if(bool condition) {
    if (condition) next();
    return condition;
  }

  static std::string describe(const Token& token) {
    using Kind = Token::Kind;
    switch (token.kind) {
      case Kind::kText:
        return "text";
      case Kind::kPrintBegin:
        return "\"{{\"";
      case Kind::kPrintEnd:
        return "\"}}\"";
      case Kind::kTagBegin:
        return "\"{%\"";
      case Kind::kTagEnd:
        return "\"%}\"";
      case Kind::kEnd:
        return "the end of the template";
      default:
        return "\"" + token.text.substr(0, 40) + "\"";
    }
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace fathom::jinja
