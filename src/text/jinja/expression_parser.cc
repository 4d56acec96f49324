#include "text/jinja/expression_parser.h"

#include <charconv>

namespace fathom::jinja {
namespace {

using ExpressionKind = Expression::Kind;

// Brackets, signs and conditions inside each other. Each level takes about 4 KiB of stack.
constexpr int kMaxExpressionDepth = 100;

}  // namespace

// Counts one level while it lives.
class ExpressionParser::Nesting {
 public:
  explicit Nesting(int& depth) : depth_(depth) { ++depth_; }
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& depth_;
};

Status ExpressionParser::check_depth() const {
  if (depth_ <= kMaxExpressionDepth) return ok_status();
  return invalid_data("line {}: expressions are nested deeper than the limit of {}", stream_.line(),
                      kMaxExpressionDepth);
}

Expression* ExpressionParser::make(ExpressionKind kind, std::vector<Expression*> children, std::string text) {
  Expression& node = program_.expressions.emplace_back();
  node.kind = kind;
  node.line = stream_.line();
  node.text = std::move(text);
  node.children = std::move(children);
  return &node;
}

Result<Expression*> ExpressionParser::parse_expression(Conditional conditional) {
  const Nesting nesting(depth_);
  FATHOM_RETURN_IF_ERROR(check_depth());
  FATHOM_ASSIGN_OR_RETURN(Expression * value, parse_or());
  if (conditional == Conditional::kNot) return value;
  while (stream_.take_name("if")) {
    FATHOM_ASSIGN_OR_RETURN(Expression * condition, parse_or());
    Expression* otherwise = nullptr;
    if (stream_.take_name("else")) {
      FATHOM_ASSIGN_OR_RETURN(otherwise, parse_expression());
    }
    value = make(ExpressionKind::kConditional, {value, condition, otherwise});
  }
  return value;
}

bool ExpressionParser::at_tuple_end() const {
  return stream_.is(Token::Kind::kPrintEnd) || stream_.is(Token::Kind::kTagEnd) || stream_.is_operator(")") ||
         stream_.is_operator("=") || stream_.is_name("in") || stream_.is_name("recursive");
}

Result<Expression*> ExpressionParser::parse_tuple(Conditional conditional) {
  std::vector<Expression*> items;
  bool is_tuple = false;
  while (!at_tuple_end()) {
    FATHOM_ASSIGN_OR_RETURN(Expression * item, parse_expression(conditional));
    items.push_back(item);
    if (!stream_.take_operator(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return make(ExpressionKind::kTuple, std::move(items));
  if (items.empty()) return stream_.error("expected an expression");
  return items[0];
}

Result<Expression*> ExpressionParser::parse_target_item(bool with_namespace) {
  const Nesting nesting(depth_);
  FATHOM_RETURN_IF_ERROR(check_depth());
  if (stream_.take_operator("(")) {
    FATHOM_ASSIGN_OR_RETURN(Expression * inner, parse_target(with_namespace));
    FATHOM_RETURN_IF_ERROR(stream_.expect_operator(")"));
    return inner;
  }
  FATHOM_ASSIGN_OR_RETURN(std::string name, stream_.expect_any_name());
  for (const std::string_view reserved :
       {"true", "false", "none", "True", "False", "None", "in", "if", "else", "not"}) {
    if (name == reserved) return stream_.error(fmt::format("cannot assign to \"{}\"", name));
  }
  Expression* target = make(ExpressionKind::kName, {}, std::move(name));
  if (!with_namespace || !stream_.take_operator(".")) return target;
  FATHOM_ASSIGN_OR_RETURN(std::string member, stream_.expect_any_name());
  return make(ExpressionKind::kNamespaceRef, {target}, std::move(member));
}

Result<Expression*> ExpressionParser::parse_target(bool with_namespace) {
  std::vector<Expression*> items;
  bool is_tuple = false;
  while (items.empty() || !at_tuple_end()) {
    FATHOM_ASSIGN_OR_RETURN(Expression * item, parse_target_item(with_namespace));
    items.push_back(item);
    if (!stream_.take_operator(",")) break;
    is_tuple = true;
  }
  return is_tuple ? make(ExpressionKind::kTuple, std::move(items)) : items[0];
}

Result<Expression*> ExpressionParser::parse_or() {
  FATHOM_ASSIGN_OR_RETURN(Expression * left, parse_and());
  while (stream_.take_name("or")) {
    FATHOM_ASSIGN_OR_RETURN(Expression * right, parse_and());
    left = make(ExpressionKind::kOr, {left, right});
  }
  return left;
}

Result<Expression*> ExpressionParser::parse_and() {
  FATHOM_ASSIGN_OR_RETURN(Expression * left, parse_not());
  while (stream_.take_name("and")) {
    FATHOM_ASSIGN_OR_RETURN(Expression * right, parse_not());
    left = make(ExpressionKind::kAnd, {left, right});
  }
  return left;
}

Result<Expression*> ExpressionParser::parse_not() {
  if (!stream_.take_name("not")) return parse_compare();
  const Nesting nesting(depth_);
  FATHOM_RETURN_IF_ERROR(check_depth());
  FATHOM_ASSIGN_OR_RETURN(Expression * operand, parse_not());
  return make(ExpressionKind::kNot, {operand});
}

Result<Expression*> ExpressionParser::parse_compare() {
  FATHOM_ASSIGN_OR_RETURN(Expression * first, parse_sum());
  std::vector<std::string> operators;
  std::vector<Expression*> operands = {first};
  while (true) {
    std::string found;
    for (const std::string_view symbol : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (found.empty() && stream_.take_operator(symbol)) found = symbol;
    }
    if (found.empty() && stream_.take_name("in")) found = "in";
    if (found.empty() && stream_.is_name("not") && stream_.ahead().is(Token::Kind::kName, "in")) {
      stream_.next();
      stream_.next();
      found = "not in";
    }
    if (found.empty()) break;
    FATHOM_ASSIGN_OR_RETURN(Expression * operand, parse_sum());
    operators.push_back(found);
    operands.push_back(operand);
  }
  if (operators.empty()) return first;
  Expression* node = make(ExpressionKind::kCompare, std::move(operands));
  node->operators = std::move(operators);
  return node;
}

Result<Expression*> ExpressionParser::parse_binary(std::initializer_list<std::string_view> operators,
                                                   Rule operand) {
  FATHOM_ASSIGN_OR_RETURN(Expression * left, (this->*operand)());
  while (true) {
    std::string found;
    for (const std::string_view symbol : operators) {
      if (found.empty() && stream_.take_operator(symbol)) found = symbol;
    }
    if (found.empty()) return left;
    FATHOM_ASSIGN_OR_RETURN(Expression * right, (this->*operand)());
    left = make(ExpressionKind::kBinary, {left, right}, std::move(found));
  }
}

Result<Expression*> ExpressionParser::parse_sum() {
  return parse_binary({"+", "-"}, &ExpressionParser::parse_concat);
}

Result<Expression*> ExpressionParser::parse_concat() {
  FATHOM_ASSIGN_OR_RETURN(Expression * first, parse_product());
  std::vector<Expression*> parts = {first};
  while (stream_.take_operator("~")) {
    FATHOM_ASSIGN_OR_RETURN(Expression * part, parse_product());
    parts.push_back(part);
  }
  return parts.size() == 1 ? first : make(ExpressionKind::kConcat, std::move(parts));
}

Result<Expression*> ExpressionParser::parse_product() {
  return parse_binary({"*", "/", "//", "%"}, &ExpressionParser::parse_power);
}

// From left to right: 2 ** 3 ** 2 is 64 in Jinja.
Result<Expression*> ExpressionParser::parse_power() {
  FATHOM_ASSIGN_OR_RETURN(Expression * left, parse_unary(true));
  while (stream_.take_operator("**")) {
    FATHOM_ASSIGN_OR_RETURN(Expression * right, parse_unary(true));
    left = make(ExpressionKind::kBinary, {left, right}, "**");
  }
  return left;
}

// A sign binds closer than filters: -1 | abs is (-1) | abs.
Result<Expression*> ExpressionParser::parse_unary(bool with_filters) {
  const Nesting nesting(depth_);
  FATHOM_RETURN_IF_ERROR(check_depth());
  Expression* value = nullptr;
  if (stream_.is_operator("-") || stream_.is_operator("+")) {
    const std::string sign = stream_.next().text;
    FATHOM_ASSIGN_OR_RETURN(Expression * operand, parse_unary(false));
    value = make(ExpressionKind::kUnary, {operand}, sign);
  } else {
    FATHOM_ASSIGN_OR_RETURN(value, parse_primary());
  }
  FATHOM_ASSIGN_OR_RETURN(value, parse_postfix(value));
  return with_filters ? parse_filters(value) : value;
}

Result<Expression*> ExpressionParser::parse_primary_with_postfix() {
  FATHOM_ASSIGN_OR_RETURN(Expression * value, parse_primary());
  return parse_postfix(value);
}

Result<Expression*> ExpressionParser::parse_primary() {
  using TokenKind = Token::Kind;
  if (stream_.is(TokenKind::kInteger) || stream_.is(TokenKind::kFloat)) return parse_number();
  if (stream_.is_operator("[")) return parse_list();
  if (stream_.is_operator("{")) return parse_dict();
  if (stream_.take_operator("(")) {
    const bool empty = stream_.is_operator(")");
    Expression* inner = empty ? make(ExpressionKind::kTuple) : nullptr;
    if (!empty) {
      FATHOM_ASSIGN_OR_RETURN(inner, parse_tuple());
    }
    FATHOM_RETURN_IF_ERROR(stream_.expect_operator(")"));
    return inner;
  }
  if (stream_.is(TokenKind::kString)) {
    Expression* node = make(ExpressionKind::kConstant);
    while (stream_.is(TokenKind::kString)) node->text += stream_.next().text;
    node->constant = Value::string(node->text);
    return node;
  }
  if (!stream_.is(TokenKind::kName)) return stream_.error("expected an expression");
  Expression* node = make(ExpressionKind::kName, {}, stream_.next().text);
  const std::string& name = node->text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    node->kind = ExpressionKind::kConstant;
    node->constant = Value::boolean(name == "true" || name == "True");
  } else if (name == "none" || name == "None") {
    node->kind = ExpressionKind::kConstant;
    node->constant = Value::none();
  }
  return node;
}

Result<Expression*> ExpressionParser::parse_number() {
  Expression* node = make(ExpressionKind::kConstant);
  const Token token = stream_.next();
  if (token.kind == Token::Kind::kFloat) {
    double value = 0;
    const auto [end, error] =
        std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
    if (error != std::errc()) return invalid_data("line {}: {} is out of range", token.line, token.text);
    node->constant = Value::real(value);
    return node;
  }
  Integer value = 0;
  for (const char digit : token.text) {
    if (__builtin_mul_overflow(value, Integer{10}, &value) ||
        __builtin_add_overflow(value, Integer{digit - '0'}, &value)) {
      return invalid_data("line {}: {} is out of range", token.line, token.text.substr(0, 64));
    }
  }
  node->constant = Value::integer(value);
  return node;
}

Result<Expression*> ExpressionParser::parse_list() {
  stream_.next();
  Expression* node = make(ExpressionKind::kList);
  while (!stream_.take_operator("]")) {
    if (!node->children.empty()) {
      FATHOM_RETURN_IF_ERROR(stream_.expect_operator(","));
      if (stream_.take_operator("]")) break;
    }
    FATHOM_ASSIGN_OR_RETURN(Expression * item, parse_expression());
    node->children.push_back(item);
  }
  return node;
}

Result<Expression*> ExpressionParser::parse_dict() {
  stream_.next();
  Expression* node = make(ExpressionKind::kDict);
  while (!stream_.take_operator("}")) {
    if (!node->children.empty()) {
      FATHOM_RETURN_IF_ERROR(stream_.expect_operator(","));
      if (stream_.take_operator("}")) break;
    }
    FATHOM_ASSIGN_OR_RETURN(Expression * key, parse_expression());
    FATHOM_RETURN_IF_ERROR(stream_.expect_operator(":"));
    FATHOM_ASSIGN_OR_RETURN(Expression * value, parse_expression());
    node->children.push_back(key);
    node->children.push_back(value);
  }
  return node;
}

Result<Expression*> ExpressionParser::parse_postfix(Expression* value) {
  while (true) {
    if (stream_.take_operator(".")) {
      FATHOM_ASSIGN_OR_RETURN(value, parse_attribute(value));
    } else if (stream_.take_operator("[")) {
      FATHOM_ASSIGN_OR_RETURN(value, parse_subscript(value));
    } else if (stream_.take_operator("(")) {
      value = make(ExpressionKind::kCall, {value});
      FATHOM_RETURN_IF_ERROR(parse_arguments(value));
    } else {
      return value;
    }
  }
}

Result<Expression*> ExpressionParser::parse_attribute(Expression* value) {
  if (stream_.is(Token::Kind::kInteger)) {
    FATHOM_ASSIGN_OR_RETURN(Expression * index, parse_number());
    return make(ExpressionKind::kItem, {value, index});
  }
  FATHOM_ASSIGN_OR_RETURN(std::string name, stream_.expect_any_name());
  return make(ExpressionKind::kAttribute, {value}, std::move(name));
}

// After "[": an index, or start:stop:step with any part left out.
Result<Expression*> ExpressionParser::parse_subscript(Expression* value) {
  std::vector<Expression*> parts = {value, nullptr, nullptr, nullptr};
  size_t part = 1;
  bool is_slice = false;
  while (!stream_.is_operator("]")) {
    if (stream_.take_operator(":")) {
      is_slice = true;
      if (++part > 3) return stream_.error("a slice has at most three parts");
    } else {
      if (parts[part] != nullptr) return stream_.error("expected \"]\"");
      FATHOM_ASSIGN_OR_RETURN(parts[part], parse_expression());
    }
  }
  stream_.next();
  if (is_slice) return make(ExpressionKind::kSlice, std::move(parts));
  if (parts[1] == nullptr) return stream_.error("expected an index before \"]\"");
  return make(ExpressionKind::kItem, {value, parts[1]});
}

Status ExpressionParser::parse_arguments(Expression* into) {
  bool first = true;
  while (!stream_.take_operator(")")) {
    if (!first) {
      FATHOM_RETURN_IF_ERROR(stream_.expect_operator(","));
      if (stream_.take_operator(")")) break;
    }
    first = false;
    if (stream_.is_operator("*") || stream_.is_operator("**")) {
      return stream_.error("unpacking of arguments is not supported");
    }
    if (stream_.is(Token::Kind::kName) && stream_.ahead().is(Token::Kind::kOperator, "=")) {
      std::string name = stream_.next().text;
      stream_.next();
      FATHOM_ASSIGN_OR_RETURN(Expression * value, parse_expression());
      into->named.emplace_back(std::move(name), value);
      continue;
    }
    if (!into->named.empty()) return stream_.error("a positional argument after a named one");
    FATHOM_ASSIGN_OR_RETURN(Expression * value, parse_expression());
    into->children.push_back(value);
  }
  return ok_status();
}

Result<Expression*> ExpressionParser::parse_filters(Expression* value) {
  while (true) {
    if (stream_.take_operator("|")) {
      FATHOM_ASSIGN_OR_RETURN(value, parse_filter(value));
    } else if (stream_.take_name("is")) {
      FATHOM_ASSIGN_OR_RETURN(value, parse_test(value));
    } else if (stream_.take_operator("(")) {
      value = make(ExpressionKind::kCall, {value});
      FATHOM_RETURN_IF_ERROR(parse_arguments(value));
    } else {
      return value;
    }
  }
}

// After "|".
Result<Expression*> ExpressionParser::parse_filter(Expression* value) {
  FATHOM_ASSIGN_OR_RETURN(std::string name, stream_.expect_any_name());
  Expression* filter = make(ExpressionKind::kFilter, {value}, std::move(name));
  if (stream_.take_operator("(")) FATHOM_RETURN_IF_ERROR(parse_arguments(filter));
  return filter;
}

Result<Expression*> ExpressionParser::parse_section_filters() {
  Expression* value = nullptr;
  do {
    FATHOM_ASSIGN_OR_RETURN(value, parse_filter(value));
  } while (stream_.take_operator("|"));
  return value;
}

// After "is". One argument may follow without brackets: is divisibleby 3.
Result<Expression*> ExpressionParser::parse_test(Expression* value) {
  const bool negated = stream_.take_name("not");
  FATHOM_ASSIGN_OR_RETURN(std::string name, stream_.expect_any_name());
  Expression* test = make(ExpressionKind::kTest, {value}, std::move(name));
  if (stream_.is_name("is")) return stream_.error("tests cannot be chained");
  const bool is_word = stream_.is(Token::Kind::kName);
  bool ends = false;
  for (const std::string_view word : {"else", "or", "and", "if"}) ends = ends || stream_.is_name(word);
  if (stream_.take_operator("(")) {
    FATHOM_RETURN_IF_ERROR(parse_arguments(test));
  } else if ((is_word && !ends) || stream_.is(Token::Kind::kString) || stream_.is(Token::Kind::kInteger) ||
             stream_.is(Token::Kind::kFloat) || stream_.is_operator("[") || stream_.is_operator("{")) {
    FATHOM_ASSIGN_OR_RETURN(Expression * argument, parse_primary_with_postfix());
    test->children.push_back(argument);
  }
  return negated ? make(ExpressionKind::kNot, {test}) : test;
}

}  // namespace fathom::jinja
