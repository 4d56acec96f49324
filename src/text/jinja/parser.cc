#include "text/jinja/parser.h"

#include <initializer_list>
#include <utility>

#include "text/jinja/expression_parser.h"
#include "text/jinja/lexer.h"

namespace fathom::jinja {
namespace {

using StatementKind = Statement::Kind;
using Conditional = ExpressionParser::Conditional;

// Statements inside each other.
constexpr int kMaxStatementDepth = 100;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens)
      : stream_(std::move(tokens)), program_(std::make_unique<Program>()), expressions_(stream_, *program_) {}

  Result<std::unique_ptr<Program>> parse() {
    FATHOM_ASSIGN_OR_RETURN(program_->body, parse_body({}));
    if (!stream_.is(Token::Kind::kEnd)) return stream_.error("expected the end of the template");
    return std::move(program_);
  }

 private:
  using Words = std::initializer_list<std::string_view>;

  Statement* make(StatementKind kind) {
    Statement& node = program_->statements.emplace_back();
    node.kind = kind;
    node.line = stream_.line();
    return &node;
  }

  Status end_tag() { return stream_.expect(Token::Kind::kTagEnd, "\"%}\""); }

  // Statements up to a tag that begins with one of the words, of which "{%" is taken and the word is not;
  // with no words, up to the end of the template.
  Result<Body> parse_body(Words ends) {
    if (++depth_ > kMaxStatementDepth) {
      return invalid_data("line {}: statements are nested deeper than the limit of {}", stream_.line(),
                          kMaxStatementDepth);
    }
    Body body;
    while (!stream_.is(Token::Kind::kEnd)) {
      if (stream_.is(Token::Kind::kText)) {
        Statement* text = make(StatementKind::kText);
        text->text = stream_.next().text;
        body.push_back(text);
      } else if (stream_.is(Token::Kind::kPrintBegin)) {
        stream_.next();
        Statement* print = make(StatementKind::kPrint);
        FATHOM_ASSIGN_OR_RETURN(print->value, expressions_.parse_tuple());
        FATHOM_RETURN_IF_ERROR(stream_.expect(Token::Kind::kPrintEnd, "\"}}\""));
        body.push_back(print);
      } else {
        FATHOM_RETURN_IF_ERROR(stream_.expect(Token::Kind::kTagBegin, "a tag"));
        for (const std::string_view end : ends) {
          if (!stream_.is_name(end)) continue;
          --depth_;
          return body;
        }
        FATHOM_ASSIGN_OR_RETURN(Statement * statement, parse_statement());
        body.push_back(statement);
      }
    }
    if (ends.size() > 0) return stream_.error(fmt::format("expected \"{}\"", *(ends.end() - 1)));
    --depth_;
    return body;
  }

  // "%}", a body, and the tag that ends it.
  Result<Body> parse_section(std::string_view end) {
    FATHOM_RETURN_IF_ERROR(end_tag());
    FATHOM_ASSIGN_OR_RETURN(Body body, parse_body({end}));
    stream_.next();
    FATHOM_RETURN_IF_ERROR(end_tag());
    return body;
  }

  // After "{%".
  Result<Statement*> parse_statement() {
    if (stream_.take_name("if")) return parse_if();
    if (stream_.take_name("for")) return parse_for();
    if (stream_.take_name("set")) return parse_set();
    if (stream_.take_name("macro")) return parse_macro();
    if (stream_.take_name("call")) return parse_call();
    if (stream_.take_name("filter")) return parse_filter();
    if (stream_.take_name("with")) return parse_with();
    if (stream_.take_name("generation")) {
      Statement* node = make(StatementKind::kSection);
      FATHOM_ASSIGN_OR_RETURN(node->body, parse_section("endgeneration"));
      return node;
    }
    if (stream_.is_name("break") || stream_.is_name("continue")) {
      if (loops_ == 0) return stream_.error("not inside a loop");
      Statement* node = make(stream_.is_name("break") ? StatementKind::kBreak : StatementKind::kContinue);
      stream_.next();
      FATHOM_RETURN_IF_ERROR(end_tag());
      return node;
    }
    return stream_.error("unknown or misplaced tag");
  }

  Result<Statement*> parse_if() {
    Statement* node = make(StatementKind::kIf);
    while (true) {
      FATHOM_ASSIGN_OR_RETURN(Expression * condition, expressions_.parse_tuple(Conditional::kNot));
      FATHOM_RETURN_IF_ERROR(end_tag());
      FATHOM_ASSIGN_OR_RETURN(Body body, parse_body({"elif", "else", "endif"}));
      node->branches.push_back({condition, std::move(body)});
      if (!stream_.take_name("elif")) break;
    }
    if (stream_.take_name("else")) {
      FATHOM_RETURN_IF_ERROR(end_tag());
      FATHOM_ASSIGN_OR_RETURN(Body body, parse_body({"endif"}));
      node->branches.push_back({nullptr, std::move(body)});
    }
    FATHOM_RETURN_IF_ERROR(stream_.expect_name("endif"));
    FATHOM_RETURN_IF_ERROR(end_tag());
    return node;
  }

  Result<Statement*> parse_for() {
    Statement* node = make(StatementKind::kFor);
    FATHOM_ASSIGN_OR_RETURN(node->target, expressions_.parse_target(false));
    FATHOM_RETURN_IF_ERROR(stream_.expect_name("in"));
    FATHOM_ASSIGN_OR_RETURN(node->value, expressions_.parse_tuple(Conditional::kNot));
    if (stream_.take_name("if")) {
      FATHOM_ASSIGN_OR_RETURN(node->condition, expressions_.parse_expression());
    }
    node->recursive = stream_.take_name("recursive");
    FATHOM_RETURN_IF_ERROR(end_tag());
    ++loops_;
    FATHOM_ASSIGN_OR_RETURN(node->body, parse_body({"else", "endfor"}));
    --loops_;
    if (stream_.take_name("else")) {
      FATHOM_RETURN_IF_ERROR(end_tag());
      FATHOM_ASSIGN_OR_RETURN(node->otherwise, parse_body({"endfor"}));
    }
    FATHOM_RETURN_IF_ERROR(stream_.expect_name("endfor"));
    FATHOM_RETURN_IF_ERROR(end_tag());
    return node;
  }

  Result<Statement*> parse_set() {
    Statement* node = make(StatementKind::kSet);
    FATHOM_ASSIGN_OR_RETURN(node->target, expressions_.parse_target(true));
    if (stream_.take_operator("=")) {
      FATHOM_ASSIGN_OR_RETURN(node->value, expressions_.parse_tuple());
      FATHOM_RETURN_IF_ERROR(end_tag());
      return node;
    }
    node->kind = StatementKind::kSetSection;
    if (stream_.take_operator("|")) {
      FATHOM_ASSIGN_OR_RETURN(node->value, expressions_.parse_section_filters());
    }
    FATHOM_ASSIGN_OR_RETURN(node->body, parse_section("endset"));
    return node;
  }

  // "(a, b=1)", the part after "(".
  Status parse_parameters(MacroDefinition& macro) {
    while (!stream_.take_operator(")")) {
      if (!macro.parameters.empty()) FATHOM_RETURN_IF_ERROR(stream_.expect_operator(","));
      FATHOM_ASSIGN_OR_RETURN(std::string name, stream_.expect_any_name());
      macro.parameters.push_back(std::move(name));
      if (stream_.take_operator("=")) {
        FATHOM_ASSIGN_OR_RETURN(Expression * value, expressions_.parse_expression());
        macro.defaults.push_back(value);
      } else if (!macro.defaults.empty()) {
        return stream_.error("a parameter without a default after one with");
      }
    }
    return ok_status();
  }

  // The body of a macro is no part of the loops around it.
  Status parse_macro_body(MacroDefinition& macro, std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    const size_t first_expression = program_->expressions.size();
    FATHOM_ASSIGN_OR_RETURN(macro.body, parse_section(end));
    loops_ = loops;
    for (size_t i = first_expression; i < program_->expressions.size(); ++i) {
      const Expression& node = program_->expressions[i];
      if (node.kind != Expression::Kind::kName) continue;
      macro.uses_varargs = macro.uses_varargs || node.text == "varargs";
      macro.uses_kwargs = macro.uses_kwargs || node.text == "kwargs";
    }
    return ok_status();
  }

  Result<Statement*> parse_macro() {
    Statement* node = make(StatementKind::kMacro);
    FATHOM_ASSIGN_OR_RETURN(node->macro.name, stream_.expect_any_name());
    FATHOM_RETURN_IF_ERROR(stream_.expect_operator("("));
    FATHOM_RETURN_IF_ERROR(parse_parameters(node->macro));
    FATHOM_RETURN_IF_ERROR(parse_macro_body(node->macro, "endmacro"));
    return node;
  }

  Result<Statement*> parse_call() {
    Statement* node = make(StatementKind::kCall);
    node->macro.name = "caller";
    if (stream_.take_operator("(")) FATHOM_RETURN_IF_ERROR(parse_parameters(node->macro));
    FATHOM_ASSIGN_OR_RETURN(node->value, expressions_.parse_expression());
    if (node->value->kind != Expression::Kind::kCall) return stream_.error("expected a call");
    FATHOM_RETURN_IF_ERROR(parse_macro_body(node->macro, "endcall"));
    return node;
  }

  Result<Statement*> parse_filter() {
    Statement* node = make(StatementKind::kFilter);
    FATHOM_ASSIGN_OR_RETURN(node->value, expressions_.parse_section_filters());
    FATHOM_ASSIGN_OR_RETURN(node->body, parse_section("endfilter"));
    return node;
  }

  Result<Statement*> parse_with() {
    Statement* node = make(StatementKind::kWith);
    while (!stream_.is(Token::Kind::kTagEnd)) {
      if (!node->assignments.empty()) FATHOM_RETURN_IF_ERROR(stream_.expect_operator(","));
      FATHOM_ASSIGN_OR_RETURN(std::string name, stream_.expect_any_name());
      Expression* target = expressions_.make(Expression::Kind::kName, {}, std::move(name));
      FATHOM_RETURN_IF_ERROR(stream_.expect_operator("="));
      FATHOM_ASSIGN_OR_RETURN(Expression * value, expressions_.parse_expression());
      node->assignments.emplace_back(target, value);
    }
    FATHOM_ASSIGN_OR_RETURN(node->body, parse_section("endwith"));
    return node;
  }

  TokenStream stream_;
  std::unique_ptr<Program> program_;
  ExpressionParser expressions_;
  int depth_ = 0;
  int loops_ = 0;
};

}  // namespace

Result<std::unique_ptr<Program>> parse(std::string_view source) {
  FATHOM_ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).parse();
}

}  // namespace fathom::jinja
