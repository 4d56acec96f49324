// Expressions of templates. Not for statements (text/jinja/parser.cc).
#pragma once

#include <initializer_list>
#include <string_view>

#include "base/status.h"
#include "text/jinja/ast.h"
#include "text/jinja/token_stream.h"

namespace fathom::jinja {

class ExpressionParser {
 public:
  enum class Conditional { kAllowed, kNot };  // whether "a if b else c" may stand at the top

  // Both must outlive the parser.
  ExpressionParser(TokenStream& stream, Program& program) : stream_(stream), program_(program) {}

  Result<Expression*> parse_expression(Conditional conditional = Conditional::kAllowed);
  // One expression, or a tuple where commas follow.
  Result<Expression*> parse_tuple(Conditional conditional = Conditional::kAllowed);
  // What can be assigned to: a name, names with commas, or namespace.name.
  Result<Expression*> parse_target(bool with_namespace);
  // "name(arguments) | name ..", for a section; the value is null.
  Result<Expression*> parse_section_filters();
  // The part after "(" up to and with ")", into a call, filter or test.
  Status parse_arguments(Expression* into);
  // What can stand after a primary expression: attributes, items, calls.
  Result<Expression*> parse_primary_with_postfix();

  Expression* make(Expression::Kind kind, std::vector<Expression*> children = {}, std::string text = {});

 private:
  class Nesting;

  Result<Expression*> parse_or();
  Result<Expression*> parse_and();
  Result<Expression*> parse_not();
  Result<Expression*> parse_compare();
  Result<Expression*> parse_sum();
  Result<Expression*> parse_concat();
  Result<Expression*> parse_product();
  Result<Expression*> parse_power();
  Result<Expression*> parse_unary(bool with_filters);
  Result<Expression*> parse_primary();
  Result<Expression*> parse_number();
  Result<Expression*> parse_list();
  Result<Expression*> parse_dict();
  Result<Expression*> parse_postfix(Expression* value);
  Result<Expression*> parse_attribute(Expression* value);
  Result<Expression*> parse_subscript(Expression* value);
  Result<Expression*> parse_filters(Expression* value);
  Result<Expression*> parse_filter(Expression* value);
  Result<Expression*> parse_test(Expression* value);
  Result<Expression*> parse_target_item(bool with_namespace);
  bool at_tuple_end() const;
  Status check_depth() const;

  using Rule = Result<Expression*> (ExpressionParser::*)();
  Result<Expression*> parse_binary(std::initializer_list<std::string_view> operators, Rule operand);

  TokenStream& stream_;
  Program& program_;
  int depth_ = 0;
};

}  // namespace fathom::jinja
