#include "constrain/regex_parser.h"

#include <algorithm>

#include "constrain/json_grammar.h"
#include "constrain/limits.h"
#include "constrain/pattern_text.h"

namespace fathom {
namespace {

// The classes that a letter after a backslash names; an empty set where it names none.
CodePointSet named_class(char32_t letter) {
  switch (letter) {
    case 'd':
      return CodePointSet({{'0', '9'}});
    case 'w':
      return CodePointSet({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
    case 's':
      return CodePointSet({{'\t', '\r'}, {' ', ' '}});
    case 'D':
      return named_class('d').complement();
    case 'W':
      return named_class('w').complement();
    case 'S':
      return named_class('s').complement();
    default:
      return {};
  }
}

bool is_letter_or_digit(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

class RegexParser {
 public:
  RegexParser(std::string_view pattern, RegexMatch match, RegexOutput output, Grammar& grammar)
      : text_(pattern), match_(match), output_(output), grammar_(grammar) {}

  Result<NodeId> run() {
    FATHOM_RETURN_IF_ERROR(text_.check_utf8());
    FATHOM_ASSIGN_OR_RETURN(const NodeId node, parse_alternatives(0));
    if (!text_.at_end()) return text_.error("')' without a '('");
    return node;
  }

 private:
  NodeId atom(CodePointSet set) {
    return output_ == RegexOutput::kPlain ? grammar_.set(std::move(set)) : json_string_set(grammar_, set);
  }
  NodeId anything() { return grammar_.repeat(atom(CodePointSet({{0, 0x10ffff}})), 0, kUnbounded); }

  Result<NodeId> parse_alternatives(int depth) {
    std::vector<NodeId> alternatives;
    do {
      FATHOM_ASSIGN_OR_RETURN(const NodeId alternative, parse_sequence(depth));
      alternatives.push_back(alternative);
    } while (text_.take('|'));
    return alternatives.size() == 1 ? alternatives[0] : grammar_.choice(alternatives);
  }

  Result<NodeId> parse_sequence(int depth) {
    std::vector<NodeId> parts;
    const bool is_outermost = depth == 0;
    const bool begins = is_outermost && text_.take('^');
    if (is_outermost && match_ == RegexMatch::kSearch && !begins) parts.push_back(anything());
    bool ends = false;
    while (!text_.at_end() && text_.peek() != '|' && text_.peek() != ')') {
      if (text_.peek() == '^' || text_.peek() == '$') {
        const char anchor = static_cast<char>(text_.peek());
        const size_t offset = text_.offset();
        text_.take(anchor);
        ends = anchor == '$' && is_outermost && (text_.at_end() || text_.peek() == '|');
        if (ends) break;
        return text_.error_at(offset,
                              "an anchor is supported at the ends of the outermost alternatives only");
      }
      FATHOM_ASSIGN_OR_RETURN(const NodeId part, parse_repeated(depth));
      parts.push_back(part);
    }
    if (is_outermost && match_ == RegexMatch::kSearch && !ends) parts.push_back(anything());
    return parts.size() == 1 ? parts[0] : grammar_.sequence(parts);
  }

  Result<NodeId> parse_repeated(int depth) {
    FATHOM_ASSIGN_OR_RETURN(const NodeId part, parse_atom(depth));
    uint32_t min = 0;
    uint32_t max = 0;
    FATHOM_ASSIGN_OR_RETURN(const bool is_repeated, parse_quantifier(min, max));
    if (!is_repeated) return part;
    text_.take('?');
    if (!text_.at_end() &&
        (text_.peek() == '*' || text_.peek() == '+' || text_.peek() == '?' || text_.peek() == '{')) {
      return text_.error("a repetition of a repetition, or a possessive one, is not supported");
    }
    return grammar_.repeat(part, min, max);
  }

  Result<bool> parse_quantifier(uint32_t& min, uint32_t& max) {
    if (text_.at_end()) return false;
    const char32_t c = text_.peek();
    if (c == '*' || c == '+' || c == '?') {
      text_.next();
      min = c == '+' ? 1 : 0;
      max = c == '?' ? 1 : kUnbounded;
      return true;
    }
    if (c != '{') return false;
    FATHOM_RETURN_IF_ERROR(text_.take_counts(min, max));
    return true;
  }

  Result<NodeId> parse_atom(int depth) {
    const size_t begin = text_.offset();
    const char32_t c = text_.next();
    switch (c) {
      case '(':
        return parse_group(begin, depth);
      case '[':
        return parse_class(begin);
      case '.':
        return atom(CodePointSet({{'\n', '\n'}}).complement());
      case '\\': {
        FATHOM_ASSIGN_OR_RETURN(const CodePointSet set, parse_escape(begin));
        return atom(set);
      }
      case '*':
      case '+':
      case '?':
      case '{':
        return text_.error_at(begin, "a repetition of nothing (a literal one needs a backslash)");
      default:
        return atom(CodePointSet({{c, c}}));
    }
  }

  Result<NodeId> parse_group(size_t begin, int depth) {
    if (depth + 1 > kMaxConstraintNesting) {
      return text_.error_at(begin,
                            fmt::format("groups nested deeper than the limit of {}", kMaxConstraintNesting));
    }
    if (text_.take('?')) {
      const bool is_python_name = text_.take('P');
      if (text_.at_end()) return text_.error_at(begin, "a group without ')'");
      const char32_t kind = text_.next();
      const bool is_lookbehind =
          kind == '<' && !text_.at_end() && (text_.peek() == '=' || text_.peek() == '!');
      if (kind == '=' || kind == '!' || is_lookbehind) {
        return text_.error_at(begin, is_python_name ? "a backreference is not supported"
                                                    : "lookahead and lookbehind are not supported");
      }
      if (kind == '<') {
        while (!text_.at_end() && text_.peek() != '>') text_.next();
        if (!text_.take('>')) return text_.error_at(begin, "a group's name without '>'");
      } else if (kind != ':' || is_python_name) {
        return text_.error_at(begin, "this kind of group is not supported");
      }
    }
    FATHOM_ASSIGN_OR_RETURN(const NodeId body, parse_alternatives(depth + 1));
    if (!text_.take(')')) return text_.error_at(begin, "a group without ')'");
    return body;
  }

  // After the backslash at begin.
  Result<CodePointSet> parse_escape(size_t begin) {
    if (text_.at_end()) return text_.error_at(begin, "a backslash at the end");
    const char32_t c = text_.next();
    if (CodePointSet named = named_class(c); !named.ranges().empty()) return named;
    char32_t value = c;
    switch (c) {
      case 'n':
        value = '\n';
        break;
      case 'r':
        value = '\r';
        break;
      case 't':
        value = '\t';
        break;
      case 'f':
        value = '\f';
        break;
      case 'v':
        value = '\v';
        break;
      case '0':
        value = 0;
        break;
      case 'x':
      case 'u': {
        FATHOM_ASSIGN_OR_RETURN(value, parse_hex(begin, c));
        break;
      }
      default:
        if (c >= '1' && c <= '9') return text_.error_at(begin, "a backreference is not supported");
        if (is_letter_or_digit(c)) return text_.error_at(begin, "this escape is not supported");
    }
    return CodePointSet({{value, value}});
  }

  Result<char32_t> parse_hex(size_t begin, char32_t kind) {
    if (kind == 'x') return text_.take_hex(begin, 2);
    if (!text_.take('{')) return text_.take_hex(begin, 4);
    char32_t value = 0;
    int digits = 0;
    for (; !text_.at_end() && text_.peek() != '}' && digits < 6; ++digits) {
      FATHOM_ASSIGN_OR_RETURN(const char32_t digit, text_.take_hex(begin, 1));
      value = value * 16 + digit;
    }
    if (digits == 0 || !text_.take('}'))
      return text_.error_at(begin, "\\u{ needs 1 to 6 hex digits and a '}'");
    return text_.check_scalar(begin, value);
  }

  Result<NodeId> parse_class(size_t begin) {
    const bool is_negated = text_.take('^');
    if (!text_.at_end() && text_.peek() == ']') {
      return text_.error_at(begin, "an empty class (a literal ']' needs a backslash)");
    }
    std::vector<CodePointRange> ranges;
    while (!text_.at_end() && text_.peek() != ']') {
      FATHOM_ASSIGN_OR_RETURN(const CodePointSet first, parse_class_member());
      const auto& members = first.ranges();
      if (members.size() != 1 || members[0].first != members[0].last || !text_.at_range_dash()) {
        ranges.insert(ranges.end(), members.begin(), members.end());
        continue;
      }
      const size_t dash = text_.offset();
      text_.next();
      FATHOM_ASSIGN_OR_RETURN(const CodePointSet last, parse_class_member());
      if (last.ranges().size() != 1 || last.ranges()[0].first != last.ranges()[0].last ||
          last.ranges()[0].first < members[0].first) {
        return text_.error_at(dash, "a range that does not go from one character up to another");
      }
      ranges.push_back({members[0].first, last.ranges()[0].last});
    }
    if (!text_.take(']')) return text_.error_at(begin, "a class without ']'");
    const CodePointSet set(std::move(ranges));
    return atom(is_negated ? set.complement() : set);
  }

  Result<CodePointSet> parse_class_member() {
    const size_t begin = text_.offset();
    const char32_t c = text_.next();
    if (c != '\\') return CodePointSet({{c, c}});
    if (text_.take('b')) return CodePointSet({{'\b', '\b'}});
    return parse_escape(begin);
  }

  PatternText text_;
  const RegexMatch match_;
  const RegexOutput output_;
  Grammar& grammar_;
};

}  // namespace

Result<NodeId> parse_regex(std::string_view pattern, RegexMatch match, RegexOutput output, Grammar& grammar) {
  return RegexParser(pattern, match, output, grammar).run();
}

}  // namespace fathom
