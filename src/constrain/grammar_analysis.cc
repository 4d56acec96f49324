// Facts of rules by sweeps over their nodes in order of id: children come first, so no recursion is needed.
#include <algorithm>
#include <utility>

#include "constrain/grammar.h"
#include "constrain/limits.h"

namespace fathom {
namespace {

using NodeKind = GrammarNode::Kind;

class Analysis {
 public:
  explicit Analysis(const Grammar& grammar)
      : grammar_(grammar),
        num_rules_(grammar.rules().size()),
        nullable_(grammar.nodes().size(), 0),
        inner_need_(grammar.nodes().size(), kUnreachable),
        tail_need_(grammar.nodes().size(), kUnreachable),
        facts_(num_rules_) {}

  Result<std::vector<RuleFacts>> run() {
    FATHOM_RETURN_IF_ERROR(find_bodies());
    FATHOM_RETURN_IF_ERROR(find_nullable());
    FATHOM_RETURN_IF_ERROR(refuse_left_recursion());
    FATHOM_RETURN_IF_ERROR(find_needs());
    FATHOM_RETURN_IF_ERROR(find_inlined());
    return std::move(facts_);
  }

 private:
  Status spend(size_t steps) {
    steps_ += steps;
    if (steps_ <= kMaxAnalysisSteps) return ok_status();
    return invalid_argument("the rules take more than the limit of {} steps to examine", kMaxAnalysisSteps);
  }
  NodeId body(RuleId rule) const { return grammar_.rules()[rule].body; }

  bool is_nullable(const GrammarNode& node) const {
    const auto children = grammar_.children(node);
    const auto nullable = [this](NodeId child) { return nullable_[child] != 0; };
    switch (node.kind) {
      case NodeKind::kLiteral:
        return node.count == 0;
      case NodeKind::kSet:
        return false;
      case NodeKind::kSequence:
        return std::all_of(children.begin(), children.end(), nullable);
      case NodeKind::kChoice:
        return std::any_of(children.begin(), children.end(), nullable);
      case NodeKind::kRepeat:
        return node.min == 0 || nullable(node.first);
      case NodeKind::kRule:
        return nullable(body(node.first));
    }
    return false;
  }

  // The nodes of each rule's body, children first.
  Status find_bodies() {
    bodies_.resize(num_rules_);
    std::vector<uint32_t> seen(grammar_.nodes().size(), 0);
    for (RuleId rule = 0; rule < num_rules_; ++rule) {
      std::vector<NodeId>& nodes = bodies_[rule];
      nodes.push_back(body(rule));
      for (size_t i = 0; i < nodes.size(); ++i) {
        const auto children = grammar_.children(grammar_.node(nodes[i]));
        FATHOM_RETURN_IF_ERROR(spend(1 + children.size()));
        for (const NodeId child : children) {
          if (std::exchange(seen[child], rule + 1) != rule + 1) nodes.push_back(child);
        }
      }
      std::sort(nodes.begin(), nodes.end());
    }
    return ok_status();
  }

  // Calls update(rule, node) for all nodes until no call says that something changed. Rules that are named
  // later are mostly used by those before: last ones first.
  template <typename Update>
  Status until_stable(Update update) {
    for (bool changed = true; changed;) {
      changed = false;
      for (RuleId rule = static_cast<RuleId>(num_rules_); rule-- > 0;) {
        FATHOM_RETURN_IF_ERROR(spend(bodies_[rule].size()));
        for (const NodeId id : bodies_[rule]) changed |= update(rule, id);
      }
    }
    return ok_status();
  }

  Status find_nullable() {
    return until_stable([this](RuleId, NodeId id) {
      if (nullable_[id] != 0 || !is_nullable(grammar_.node(id))) return false;
      nullable_[id] = 1;
      return true;
    });
  }

  enum class Which { kAll, kLeft };
  // The rules each rule refers to, or refers to before any text of its own.
  Result<std::vector<std::vector<RuleId>>> references(Which which) {
    std::vector<std::vector<RuleId>> result(num_rules_);
    std::vector<uint32_t> seen(grammar_.nodes().size(), 0);
    std::vector<NodeId> pending;
    for (RuleId rule = 0; rule < num_rules_; ++rule) {
      pending.assign(1, body(rule));
      while (!pending.empty()) {
        const NodeId id = pending.back();
        pending.pop_back();
        FATHOM_RETURN_IF_ERROR(spend(1));
        if (seen[id] == rule + 1) continue;
        seen[id] = rule + 1;
        const GrammarNode& node = grammar_.node(id);
        if (node.kind == NodeKind::kRule) result[rule].push_back(node.first);
        for (const NodeId child : grammar_.children(node)) {
          pending.push_back(child);
          if (which == Which::kLeft && node.kind == NodeKind::kSequence && nullable_[child] == 0) break;
        }
      }
    }
    return result;
  }

  // Rules from which no cycle is reached, each after those it refers to.
  Result<std::vector<RuleId>> acyclic_order(Which which) {
    FATHOM_ASSIGN_OR_RETURN(const auto uses, references(which));
    std::vector<std::vector<RuleId>> users(num_rules_);
    std::vector<size_t> open(num_rules_);
    std::vector<RuleId> order;
    for (RuleId rule = 0; rule < num_rules_; ++rule) {
      open[rule] = uses[rule].size();
      for (const RuleId used : uses[rule]) users[used].push_back(rule);
      if (open[rule] == 0) order.push_back(rule);
    }
    for (size_t i = 0; i < order.size(); ++i) {
      for (const RuleId user : users[order[i]]) {
        if (--open[user] == 0) order.push_back(user);
      }
    }
    return order;
  }

  Status refuse_left_recursion() {
    FATHOM_ASSIGN_OR_RETURN(const std::vector<RuleId> order, acyclic_order(Which::kLeft));
    if (order.size() == num_rules_) return ok_status();
    // Each rule left over refers to another one left over: following them ends in a cycle.
    FATHOM_ASSIGN_OR_RETURN(const auto uses, references(Which::kLeft));
    std::vector<char> is_left(num_rules_, 1);
    for (const RuleId rule : order) is_left[rule] = 0;
    auto rule = static_cast<RuleId>(std::find(is_left.begin(), is_left.end(), 1) - is_left.begin());
    for (size_t i = 0; i < num_rules_; ++i) {
      rule = *std::find_if(uses[rule].begin(), uses[rule].end(), [&](RuleId r) { return is_left[r] != 0; });
    }
    return invalid_argument("{} is left recursive: it refers to itself before any text",
                            grammar_.rules()[rule].label);
  }

  uint32_t worst_child(const GrammarNode& node, const std::vector<uint32_t>& last_need) const {
    const auto children = grammar_.children(node);
    uint32_t need = 0;
    for (size_t i = 0; i < children.size(); ++i) {
      need = std::max(need, i + 1 == children.size() ? last_need[children[i]] : inner_need_[children[i]]);
    }
    return need;
  }

  // The need of a node in the middle of its rule, or at its end, where a reference leaves nothing to come
  // back to.
  uint32_t need_of(const GrammarNode& node, const std::vector<uint32_t>& own) const {
    switch (node.kind) {
      case NodeKind::kLiteral:
        return 0;
      case NodeKind::kSet:
        return grammar_.set_of(node).ranges().empty() ? kUnreachable : 0;
      case NodeKind::kSequence:
        return worst_child(node, own);
      case NodeKind::kChoice: {
        uint32_t need = kUnreachable;
        for (const NodeId child : grammar_.children(node)) need = std::min(need, own[child]);
        return need;
      }
      case NodeKind::kRepeat:
        return node.min == 0 ? 0 : node.max == 1 ? own[node.first] : inner_need_[node.first];
      case NodeKind::kRule: {
        const uint32_t need = facts_[node.first].need;
        return need == kUnreachable || &own == &tail_need_ ? need : need + 1;
      }
    }
    return kUnreachable;
  }

  Status find_needs() {
    return until_stable([this](RuleId rule, NodeId id) {
      inner_need_[id] = need_of(grammar_.node(id), inner_need_);
      tail_need_[id] = need_of(grammar_.node(id), tail_need_);
      if (id != body(rule)) return false;
      return std::exchange(facts_[rule].need, tail_need_[id]) != tail_need_[id];
    });
  }

  Status find_inlined() {
    FATHOM_ASSIGN_OR_RETURN(const std::vector<RuleId> order, acyclic_order(Which::kAll));
    FATHOM_ASSIGN_OR_RETURN(const auto uses, references(Which::kAll));
    std::vector<uint32_t> height(num_rules_, 0);
    for (const RuleId rule : order) {
      uint32_t below = 0;
      for (const RuleId used : uses[rule]) {
        if (facts_[used].is_inlined) below = std::max(below, height[used]);
      }
      height[rule] = grammar_.node(body(rule)).height + below;
      facts_[rule].is_inlined =
          grammar_.rules()[rule].use == RuleUse::kInline && height[rule] <= kMaxGrammarHeight / 2;
    }
    return ok_status();
  }

  const Grammar& grammar_;
  const size_t num_rules_;
  std::vector<std::vector<NodeId>> bodies_;
  std::vector<char> nullable_;
  std::vector<uint32_t> inner_need_;
  std::vector<uint32_t> tail_need_;
  std::vector<RuleFacts> facts_;
  size_t steps_ = 0;
};

}  // namespace

Result<std::vector<RuleFacts>> analyse_grammar(const Grammar& grammar) {
  FATHOM_RETURN_IF_ERROR(grammar.check_size());
  return Analysis(grammar).run();
}

}  // namespace fathom
