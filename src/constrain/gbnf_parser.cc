#include "constrain/gbnf_parser.h"

#include <algorithm>
#include <unordered_map>

#include "constrain/limits.h"
#include "constrain/pattern_text.h"
#include "text/utf8.h"

namespace fathom {
namespace {

enum class Newlines { kEndTheRule, kAreSpace };

bool is_name_character(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class GbnfParser {
 public:
  explicit GbnfParser(std::string_view text) : text_(text, Position::kLine), source_(text) {}

  Result<Grammar> run() {
    FATHOM_RETURN_IF_ERROR(text_.check_utf8());
    rule_of("root", 0);
    skip_space(Newlines::kAreSpace);
    while (!text_.at_end()) {
      FATHOM_RETURN_IF_ERROR(parse_rule());
      skip_space(Newlines::kAreSpace);
    }
    if (defined_at_[0] == kNowhere) return invalid_argument("there is no rule \"root\"");
    for (RuleId rule = 0; rule < defined_at_.size(); ++rule) {
      if (defined_at_[rule] != kNowhere) continue;
      return text_.error_at(used_at_[rule], fmt::format("there is no {}", grammar_.rules()[rule].label));
    }
    return std::move(grammar_);
  }

 private:
  static constexpr size_t kNowhere = static_cast<size_t>(-1);

  RuleId rule_of(std::string_view name, size_t offset) {
    const auto [place, is_new] = by_name_.try_emplace(std::string(name), 0);
    if (is_new) {
      place->second = grammar_.add_rule(fmt::format("rule \"{}\"", name));
      used_at_.push_back(offset);
      defined_at_.push_back(kNowhere);
    }
    return place->second;
  }

  void skip_space(Newlines newlines) {
    while (!text_.at_end()) {
      const char32_t c = text_.peek();
      if (c == '#') {
        while (!text_.at_end() && text_.peek() != '\n') text_.next();
      } else if (c == ' ' || c == '\t' || (newlines == Newlines::kAreSpace && (c == '\n' || c == '\r'))) {
        text_.next();
      } else {
        return;
      }
    }
  }

  std::string_view take_name() {
    const size_t begin = text_.offset();
    while (!text_.at_end() && is_name_character(text_.peek())) text_.next();
    return source_.substr(begin, text_.offset() - begin);
  }

  Status parse_rule() {
    const size_t begin = text_.offset();
    const std::string_view name = take_name();
    if (name.empty()) return text_.error("expected the name of a rule");
    if (grammar_.rules().size() > kMaxGrammarRules) {
      return text_.error(fmt::format("more rules than the limit of {}", kMaxGrammarRules));
    }
    const RuleId rule = rule_of(name, begin);
    if (defined_at_[rule] != kNowhere) {
      return text_.error(fmt::format("a second rule \"{}\" (the first is in line {})", name,
                                     text_.line_at(defined_at_[rule])));
    }
    defined_at_[rule] = begin;
    skip_space(Newlines::kEndTheRule);
    if (!text_.take("::=")) return text_.error(fmt::format("expected ::= after \"{}\"", name));
    skip_space(Newlines::kAreSpace);
    FATHOM_ASSIGN_OR_RETURN(const NodeId body, parse_alternatives(0));
    grammar_.define(rule, body);
    line_ += static_cast<size_t>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(counted_),
                                            source_.begin() + static_cast<std::ptrdiff_t>(begin), '\n'));
    counted_ = begin;
    grammar_.set_label(rule, fmt::format("rule \"{}\" (line {})", name, line_));
    if (text_.at_end() || text_.peek() == '\n' || text_.peek() == '\r') return ok_status();
    return text_.error(fmt::format("unexpected '{}'", current()));
  }

  std::string current() const {
    std::string c;
    append_utf8(text_.peek(), c);
    return c;
  }

  Result<NodeId> parse_alternatives(int depth) {
    std::vector<NodeId> alternatives;
    do {
      if (!alternatives.empty()) skip_space(Newlines::kAreSpace);
      FATHOM_ASSIGN_OR_RETURN(const NodeId alternative, parse_sequence(depth));
      alternatives.push_back(alternative);
    } while (text_.take('|'));
    return alternatives.size() == 1 ? alternatives[0] : grammar_.choice(alternatives);
  }

  Result<NodeId> parse_sequence(int depth) {
    const Newlines newlines = depth > 0 ? Newlines::kAreSpace : Newlines::kEndTheRule;
    std::vector<NodeId> parts;
    for (skip_space(newlines); !text_.at_end(); skip_space(newlines)) {
      const char32_t c = text_.peek();
      if (c == '|' || c == ')' || c == '\n' || c == '\r') break;
      FATHOM_ASSIGN_OR_RETURN(NodeId part, parse_atom(depth));
      FATHOM_RETURN_IF_ERROR(parse_repetitions(part, newlines));
      parts.push_back(part);
    }
    return parts.size() == 1 ? parts[0] : grammar_.sequence(parts);
  }

  Status parse_repetitions(NodeId& part, Newlines newlines) {
    for (int count = 0;; ++count) {
      skip_space(newlines);
      uint32_t min = 0;
      uint32_t max = kUnbounded;
      if (text_.at_end()) return ok_status();
      if (text_.take('*')) {
      } else if (text_.take('+')) {
        min = 1;
      } else if (text_.take('?')) {
        max = 1;
      } else if (text_.peek() == '{') {
        FATHOM_RETURN_IF_ERROR(text_.take_counts(min, max));
      } else {
        return ok_status();
      }
      if (count == kMaxConstraintNesting) {
        return text_.error(
            fmt::format("repetitions nested deeper than the limit of {}", kMaxConstraintNesting));
      }
      part = grammar_.repeat(part, min, max);
    }
  }

  Result<NodeId> parse_atom(int depth) {
    const size_t begin = text_.offset();
    if (text_.take('"')) return parse_literal(begin);
    if (text_.take('[')) return parse_class(begin);
    if (text_.take('.')) return grammar_.set(CodePointSet({{0, 0x10ffff}}));
    if (text_.take('(')) {
      if (depth + 1 > kMaxConstraintNesting) {
        return text_.error_at(
            begin, fmt::format("groups nested deeper than the limit of {}", kMaxConstraintNesting));
      }
      FATHOM_ASSIGN_OR_RETURN(const NodeId body, parse_alternatives(depth + 1));
      if (!text_.take(')')) return text_.error_at(begin, "a group without ')'");
      return body;
    }
    const std::string_view name = take_name();
    if (name.empty()) return text_.error(fmt::format("unexpected '{}'", current()));
    return grammar_.reference(rule_of(name, begin));
  }

  Result<NodeId> parse_literal(size_t begin) {
    std::string literal;
    while (!text_.at_end() && text_.peek() != '"') {
      FATHOM_ASSIGN_OR_RETURN(const char32_t c, parse_character());
      append_utf8(c, literal);
    }
    if (!text_.take('"')) return text_.error_at(begin, "a literal without its closing '\"'");
    return grammar_.literal(literal);
  }

  Result<char32_t> parse_character() {
    const size_t begin = text_.offset();
    const char32_t c = text_.next();
    if (c != '\\') return c;
    if (text_.at_end()) return text_.error_at(begin, "a backslash at the end");
    const char32_t escaped = text_.next();
    switch (escaped) {
      case 'n':
        return U'\n';
      case 'r':
        return U'\r';
      case 't':
        return U'\t';
      case 'x':
        return text_.take_hex(begin, 2);
      case 'u':
        return text_.take_hex(begin, 4);
      case 'U':
        return text_.take_hex(begin, 8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return escaped;
      default:
        return text_.error_at(begin, "this escape is not supported");
    }
  }

  Result<NodeId> parse_class(size_t begin) {
    const bool is_negated = text_.take('^');
    std::vector<CodePointRange> ranges;
    while (!text_.at_end() && text_.peek() != ']') {
      FATHOM_ASSIGN_OR_RETURN(const char32_t first, parse_character());
      char32_t last = first;
      if (text_.at_range_dash()) {
        text_.next();
        FATHOM_ASSIGN_OR_RETURN(last, parse_character());
        if (last < first) return text_.error_at(begin, "a range that goes down");
      }
      ranges.push_back({first, last});
    }
    if (!text_.take(']')) return text_.error_at(begin, "a class without ']'");
    const CodePointSet set(std::move(ranges));
    return grammar_.set(is_negated ? set.complement() : set);
  }

  PatternText text_;
  std::string_view source_;
  Grammar grammar_;
  std::unordered_map<std::string, RuleId> by_name_;
  size_t line_ = 1;  // of offset counted_
  size_t counted_ = 0;
  std::vector<size_t> used_at_;     // by rule: where it is named first
  std::vector<size_t> defined_at_;  // by rule; kNowhere
};

}  // namespace

Result<Grammar> parse_gbnf(std::string_view text) { return GbnfParser(text).run(); }

}  // namespace fathom
