#include "constrain/grammar.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"
#include "constrain/limits.h"

namespace fathom {

using NodeKind = GrammarNode::Kind;

RuleId Grammar::add_rule(std::string label, RuleUse use) {
  rules_.push_back({std::move(label), use, 0});
  return static_cast<RuleId>(rules_.size() - 1);
}

void Grammar::define(RuleId rule, NodeId body) { rules_[rule].body = body; }

NodeId Grammar::add(GrammarNode node) {
  for (const NodeId child : children(node)) node.height = std::max(node.height, nodes_[child].height + 1);
  nodes_.push_back(node);
  return static_cast<NodeId>(nodes_.size() - 1);
}

NodeId Grammar::add_list(NodeKind kind, std::span<const NodeId> children) {
  const auto first = static_cast<uint32_t>(children_.size());
  children_.insert(children_.end(), children.begin(), children.end());
  return add({.kind = kind, .first = first, .count = static_cast<uint32_t>(children.size())});
}

NodeId Grammar::literal(std::string_view bytes) {
  const auto first = static_cast<uint32_t>(texts_.size());
  texts_ += bytes;
  return add({.kind = NodeKind::kLiteral, .first = first, .count = static_cast<uint32_t>(bytes.size())});
}

NodeId Grammar::set(CodePointSet set) {
  uint64_t hash = set.ranges().size();
  for (const CodePointRange& r : set.ranges()) hash = mix_bits(hash ^ (uint64_t{r.first} << 32 | r.last));
  const auto [first, last] = set_by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    if (sets_[it->second].ranges() == set.ranges()) return add({.kind = NodeKind::kSet, .first = it->second});
  }
  const auto index = static_cast<uint32_t>(sets_.size());
  sets_.push_back(std::move(set));
  set_by_hash_.emplace(hash, index);
  return add({.kind = NodeKind::kSet, .first = index});
}

NodeId Grammar::sequence(std::span<const NodeId> parts) { return add_list(NodeKind::kSequence, parts); }

NodeId Grammar::choice(std::span<const NodeId> alternatives) {
  return add_list(NodeKind::kChoice, alternatives);
}

NodeId Grammar::repeat(NodeId child, uint32_t min, uint32_t max) {
  FATHOM_CHECK(min <= max, "min {} max {}", min, max);
  return add({.kind = NodeKind::kRepeat, .first = child, .count = 1, .min = min, .max = max});
}

NodeId Grammar::reference(RuleId rule) { return add({.kind = NodeKind::kRule, .first = rule}); }

// What was rule 0 goes on as another one: it may refer to itself.
void Grammar::also_what_begins_with(std::string_view beginning) {
  const Rule former = rules_[0];
  const RuleId moved = add_rule(former.label, former.use);
  define(moved, former.body);
  for (GrammarNode& node : nodes_) {
    if (node.kind == NodeKind::kRule && node.first == 0) node.first = moved;
  }
  const NodeId anything = repeat(set(CodePointSet().complement()), 0, kUnbounded);
  define(0, choice({reference(moved), sequence({literal(beginning), anything})}));
}

std::string_view Grammar::text(const GrammarNode& node) const {
  return std::string_view(texts_).substr(node.first, node.count);
}

std::span<const NodeId> Grammar::children(const GrammarNode& node) const {
  if (node.kind == NodeKind::kRepeat) return {&node.first, 1};
  if (node.kind != NodeKind::kSequence && node.kind != NodeKind::kChoice) return {};
  return std::span(children_).subspan(node.first, node.count);
}

Status Grammar::check_size() const {
  if (rules_.size() > kMaxGrammarRules) {
    return invalid_argument("{} rules are over the limit of {}", rules_.size(), kMaxGrammarRules);
  }
  if (nodes_.size() > kMaxGrammarNodes) {
    return invalid_argument("{} parts are over the limit of {}", nodes_.size(), kMaxGrammarNodes);
  }
  for (const Rule& rule : rules_) {
    const uint32_t height = nodes_[rule.body].height;
    if (height > kMaxGrammarHeight) {
      return invalid_argument("{} is nested {} deep, over the limit of {}", rule.label, height,
                              kMaxGrammarHeight);
    }
  }
  return ok_status();
}

}  // namespace fathom
