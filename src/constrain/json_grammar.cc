#include "constrain/json_grammar.h"

#include <fmt/format.h>

#include <string>

namespace fathom {
namespace {

// What cannot stand in a string as it is.
CodePointSet escaped_characters() { return CodePointSet({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}}); }

std::string shortest_escape(char32_t c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
  }
}

CodePointSet characters(std::string_view ascii) {
  std::vector<CodePointRange> ranges;
  for (const char c : ascii) ranges.push_back({static_cast<char32_t>(c), static_cast<char32_t>(c)});
  return CodePointSet(std::move(ranges));
}

}  // namespace

NodeId json_string_set(Grammar& grammar, const CodePointSet& set) {
  const CodePointSet escaped = escaped_characters();
  std::vector<NodeId> alternatives(1, grammar.set(set.minus(escaped)));
  for (const CodePointRange& range : escaped.ranges()) {
    for (char32_t c = range.first; c <= range.last; ++c) {
      if (set.contains(c)) alternatives.push_back(grammar.literal(shortest_escape(c)));
    }
  }
  return alternatives.size() == 1 ? alternatives[0] : grammar.choice(alternatives);
}

NodeId JsonParts::space() {
  if (space_ == kNone) {
    const NodeId blank = grammar_.set(characters(" \t"));
    const NodeId line =
        grammar_.sequence({grammar_.literal("\n"), grammar_.repeat(blank, 0, kMaxJsonIndent)});
    space_ = grammar_.optional(grammar_.choice({grammar_.literal(" "), line}));
  }
  return space_;
}

NodeId JsonParts::digit() {
  if (digit_ == kNone) digit_ = grammar_.set(CodePointSet({{'0', '9'}}));
  return digit_;
}

NodeId JsonParts::string_character() {
  if (character_ == kNone) {
    const auto hex = [this](std::string_view digits) { return grammar_.set(characters(digits)); };
    const NodeId any = hex("0123456789abcdefABCDEF");
    const NodeId plain = grammar_.set(escaped_characters().complement());
    const NodeId letter = grammar_.set(characters("\"\\/bfnrt"));
    const NodeId below_d =
        grammar_.sequence({hex("0123456789abcefABCEF"), any});  // the first two digits, not d8 to df
    const NodeId in_d = grammar_.sequence({hex("dD"), hex("01234567")});
    const NodeId single = grammar_.sequence({grammar_.choice({below_d, in_d}), any, any});
    const NodeId high = grammar_.sequence({hex("dD"), hex("89abAB"), any, any});
    const NodeId low = grammar_.sequence({hex("dD"), hex("cdefCDEF"), any, any});
    const NodeId pair = grammar_.sequence({high, grammar_.literal("\\u"), low});
    const NodeId code = grammar_.sequence({grammar_.literal("u"), grammar_.choice({single, pair})});
    // Called rather than written out: strings of bounded length have a copy of this for each character.
    const RuleId escape = grammar_.add_rule("an escape", RuleUse::kShared);
    grammar_.define(escape, grammar_.choice({letter, code}));
    character_ =
        grammar_.choice({plain, grammar_.sequence({grammar_.literal("\\"), grammar_.reference(escape)})});
  }
  return character_;
}

NodeId JsonParts::string(uint32_t min, uint32_t max) {
  const auto [place, is_new] = strings_.try_emplace({min, max}, kNone);
  if (is_new) {
    const RuleId rule = grammar_.add_rule("a string", RuleUse::kShared);
    grammar_.define(
        rule, grammar_.sequence({grammar_.repeat(string_character(), min, max), grammar_.literal("\"")}));
    place->second = grammar_.sequence({grammar_.literal("\""), grammar_.reference(rule)});
  }
  return place->second;
}

NodeId JsonParts::integer() {
  const NodeId first = grammar_.set(CodePointSet({{'1', '9'}}));
  const NodeId rest = grammar_.repeat(digit(), 0, kMaxJsonDigits - 1);
  const NodeId nonzero = grammar_.sequence({grammar_.optional(grammar_.literal("-")), first, rest});
  return grammar_.choice({grammar_.literal("0"), nonzero});
}

NodeId JsonParts::fraction(uint32_t max_digits) {
  return grammar_.sequence({grammar_.literal("."), grammar_.repeat(digit(), 1, max_digits)});
}

NodeId JsonParts::number() {
  const NodeId exponent =
      grammar_.sequence({grammar_.set(characters("eE")), grammar_.optional(grammar_.set(characters("+-"))),
                         grammar_.repeat(digit(), 1, 2)});
  const NodeId whole = grammar_.choice({integer(), grammar_.literal("-0")});
  return grammar_.sequence({whole, grammar_.optional(fraction(kMaxJsonDigits)), grammar_.optional(exponent)});
}

NodeId JsonParts::list(std::string_view open, NodeId item, uint32_t min, uint32_t max,
                       std::string_view close) {
  const NodeId next = grammar_.sequence({grammar_.literal(","), space(), item});
  const uint32_t more = max == kUnbounded ? kUnbounded : max - (max > 0 ? 1 : 0);
  const NodeId items = grammar_.sequence({item, grammar_.repeat(next, min > 0 ? min - 1 : 0, more), space()});
  const NodeId body = max == 0 ? grammar_.sequence({}) : min == 0 ? grammar_.optional(items) : items;
  return grammar_.sequence({grammar_.literal(open), space(), body, grammar_.literal(close)});
}

NodeId JsonParts::member(NodeId key, NodeId value) {
  return grammar_.sequence({key, grammar_.literal(":"), space(), value});
}

NodeId JsonParts::object() { return list("{", member(string(), value()), 0, kUnbounded, "}"); }

NodeId JsonParts::array() { return list("[", value(), 0, kUnbounded, "]"); }

NodeId JsonParts::value() {
  if (value_ == kNone) {
    const RuleId rule = grammar_.add_rule("a JSON value", RuleUse::kShared);
    value_ = grammar_.reference(rule);  // before its own object and array ask for it
    grammar_.define(rule, grammar_.choice({object(), array(), string(), number(), grammar_.literal("true"),
                                           grammar_.literal("false"), grammar_.literal("null")}));
  }
  return value_;
}

Grammar json_object_grammar() {
  Grammar grammar;
  const RuleId root = grammar.add_rule("a JSON object");
  JsonParts parts(grammar);
  grammar.define(root, parts.object());
  return grammar;
}

}  // namespace fathom
