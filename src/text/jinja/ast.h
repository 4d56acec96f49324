// A template after parsing: statements and the expressions in them. All nodes belong to the Program; children
// are pointers into it, so that taking a deep program apart needs no recursion.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace fathom::jinja {

struct Expression {
  enum class Kind {
    kConstant,      // constant
    kName,          // text
    kList,          // children
    kTuple,         // children
    kDict,          // children: key, value, key, value ..
    kNot,           // [0]
    kAnd,           // [0] [1]
    kOr,            // [0] [1]
    kUnary,         // text: "-" "+"; [0]
    kBinary,        // text: + - * / // % **; [0] [1]
    kCompare,       // operators: == != < <= > >= in "not in"; children: one more than operators
    kConcat,        // children
    kConditional,   // [0] if [1] else [2]; [2] may be null
    kAttribute,     // [0].text
    kItem,          // [0][[1]]
    kSlice,         // [0][[1]:[2]:[3]]; [1] to [3] may be null
    kCall,          // [0]([1] .., named)
    kFilter,        // [0] | text([1] .., named); [0] is null in a filter section
    kTest,          // [0] is text([1] .., named)
    kNamespaceRef,  // target of set only: [0] a name, .text
  };
  Kind kind;
  int line;
  std::string text;
  Value constant;
  std::vector<std::string> operators;
  std::vector<Expression*> children;
  std::vector<std::pair<std::string, Expression*>> named;
};

struct Statement;
using Body = std::vector<Statement*>;

struct MacroDefinition {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<Expression*> defaults;  // of the last parameters
  Body body;
  // Whether the body reads these names: only then does a call take arguments beyond the parameters.
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

struct Statement {
  enum class Kind {
    kText,        // text
    kPrint,       // value
    kIf,          // branches
    kFor,         // target in value if condition: body else otherwise
    kSet,         // target = value
    kSetSection,  // target = body, through the filters in value (null: none)
    kMacro,       // macro
    kCall,        // macro is the caller, value the call
    kFilter,      // body through the filters in value
    kWith,        // assignments, body
    kSection,     // body, as if it stood alone ({% generation %})
    kBreak,
    kContinue,
  };
  struct Branch {
    Expression* condition;  // null: else
    Body body;
  };
  Kind kind;
  int line;
  std::string text;
  Expression* value = nullptr;
  Expression* target = nullptr;
  Expression* condition = nullptr;
  bool recursive = false;
  Body body;
  Body otherwise;
  std::vector<Branch> branches;
  std::vector<std::pair<Expression*, Expression*>> assignments;
  MacroDefinition macro;
};

struct Program {
  std::deque<Expression> expressions;
  std::deque<Statement> statements;
  Body body;
};

}  // namespace fathom::jinja
