// What all kinds of constraints become first: rules whose bodies are trees of literals, sets of characters,
// sequences, choices, repetitions and references to rules. Not for matching (constrain/nfa.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "constrain/code_points.h"

namespace fathom {

using NodeId = uint32_t;
using RuleId = uint32_t;
inline constexpr uint32_t kUnbounded = UINT32_MAX;

struct GrammarNode {
  enum class Kind : uint8_t { kLiteral, kSet, kSequence, kChoice, kRepeat, kRule };
  Kind kind;
  uint32_t first = 0;  // kLiteral: offset into texts; kSet: index; kSequence, kChoice: offset into children;
                       // kRepeat: the child; kRule: the rule
  uint32_t count = 0;  // bytes or children
  uint32_t min = 0;    // of kRepeat
  uint32_t max = 0;    // of kRepeat; kUnbounded: no limit
  uint32_t height = 1;
};

// Whether the compiler may write the rule's body in place of a reference to it. Masks are kept per position
// of a rule: one that begins with nearly every token of the vocabulary is better shared.
enum class RuleUse { kInline, kShared };

// Nodes are made children first, so that a child's id is always the smaller, and may have several parents.
// One thread.
class Grammar {
 public:
  // label: what messages call it, such as: rule "item" (line 3). The first rule is the whole text.
  RuleId add_rule(std::string label, RuleUse use = RuleUse::kInline);
  void define(RuleId rule, NodeId body);
  void set_label(RuleId rule, std::string label) { rules_[rule].label = std::move(label); }

  NodeId literal(std::string_view bytes);
  NodeId set(CodePointSet set);
  NodeId sequence(std::span<const NodeId> parts);
  NodeId sequence(std::initializer_list<NodeId> parts) { return sequence(std::span(parts)); }
  // Without alternatives: nothing matches.
  NodeId choice(std::span<const NodeId> alternatives);
  NodeId choice(std::initializer_list<NodeId> alternatives) { return choice(std::span(alternatives)); }
  NodeId repeat(NodeId child, uint32_t min, uint32_t max);
  NodeId optional(NodeId child) { return repeat(child, 0, 1); }
  NodeId reference(RuleId rule);

  struct Rule {
    std::string label;
    RuleUse use = RuleUse::kInline;
    NodeId body = 0;
  };
  const std::vector<Rule>& rules() const { return rules_; }
  const std::vector<GrammarNode>& nodes() const { return nodes_; }
  const GrammarNode& node(NodeId id) const { return nodes_[id]; }
  std::string_view text(const GrammarNode& node) const;
  const CodePointSet& set_of(const GrammarNode& node) const { return sets_[node.first]; }
  // Of a kSequence, kChoice or kRepeat.
  std::span<const NodeId> children(const GrammarNode& node) const;

  // Makes the whole text either what it was or any text that begins so.
  void also_what_begins_with(std::string_view beginning);

  // Whether the limits on rules, nodes and height hold.
  Status check_size() const;

 private:
  NodeId add(GrammarNode node);
  NodeId add_list(GrammarNode::Kind kind, std::span<const NodeId> children);

  std::vector<Rule> rules_;
  std::vector<GrammarNode> nodes_;
  std::vector<NodeId> children_;
  std::vector<CodePointSet> sets_;  // all different
  std::unordered_multimap<uint64_t, uint32_t> set_by_hash_;
  std::string texts_;
};

inline constexpr uint32_t kUnreachable = UINT32_MAX;

// What the automaton has to know of a rule.
struct RuleFacts {
  // How many rules have to be under way at once, beside this one, to come to its end; kUnreachable: there is
  // none.
  uint32_t need = kUnreachable;
  // Whether references are replaced by the body: not in a cycle, not too deep, not shared.
  bool is_inlined = false;
};

// Facts by rule. Fails where the limits do not hold, or a rule comes back to itself before any text.
Result<std::vector<RuleFacts>> analyse_grammar(const Grammar& grammar);

}  // namespace fathom
