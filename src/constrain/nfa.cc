#include "constrain/nfa.h"

#include <algorithm>
#include <unordered_map>

#include "constrain/id_map.h"
#include "constrain/limits.h"

namespace fathom {
namespace {

using NodeKind = GrammarNode::Kind;

enum class Inlining { kAllowed, kNever };

// States are made from the end of a rule to its beginning: emit(node, next) gives the state from which the
// node's text leads to next. Remembering (node, next) is what lets many alternatives share one ending.
class Builder {
 public:
  Builder(const Grammar& grammar, const std::vector<RuleFacts>& facts, Inlining inlining)
      : grammar_(grammar),
        facts_(facts),
        inlining_(inlining),
        max_states_(inlining == Inlining::kAllowed ? kMaxInlinedStates : kMaxNfaStates) {}

  bool run() {
    nfa_.states.push_back({});
    for (size_t rule = 0; rule < facts_.size(); ++rule) add_split(1);
    for (RuleId rule = 0; rule < facts_.size() && !is_full_; ++rule) {
      const uint32_t start = emit(grammar_.rules()[rule].body, Nfa::kEndState);
      nfa_.targets[nfa_.states[Nfa::entry(rule)].first] = start;
    }
    return !is_full_;
  }

  Nfa finish() {
    find_needs();
    find_classes();
    return std::move(nfa_);
  }

 private:
  uint32_t add(NfaState state) {
    nfa_.states.push_back(state);
    is_full_ |= nfa_.states.size() > max_states_ || nfa_.edges.size() > kMaxNfaEdges ||
                nfa_.targets.size() > kMaxNfaEdges;
    return static_cast<uint32_t>(nfa_.states.size() - 1);
  }
  uint32_t add_split(uint32_t count) {
    const auto first = static_cast<uint32_t>(nfa_.targets.size());
    nfa_.targets.resize(first + count, Nfa::kEndState);
    return add({NfaState::Kind::kSplit, first, count});
  }
  uint32_t split(uint32_t a, uint32_t b) {
    const uint32_t state = add_split(2);
    set_targets(state, a, b);
    return state;
  }
  void set_targets(uint32_t state, uint32_t a, uint32_t b) {
    nfa_.targets[nfa_.states[state].first] = a;
    nfa_.targets[nfa_.states[state].first + 1] = b;
  }

  // A state with one edge, shared by all who need the same.
  uint32_t byte_state(uint8_t first, uint8_t last, uint32_t next) {
    const uint64_t key = (uint64_t{next} << 16) | (uint64_t{first} << 8) | last;
    if (const uint32_t known = byte_states_.find(key); known != IdMap::kNone) return known;
    nfa_.edges.push_back({first, last, next});
    const uint32_t state = add({NfaState::Kind::kBytes, static_cast<uint32_t>(nfa_.edges.size() - 1), 1});
    byte_states_.add(key, state);
    return state;
  }

  uint32_t emit(NodeId id, uint32_t next) {
    if (is_full_ || ++steps_ > kMaxEmitSteps) {
      is_full_ = true;
      return next;
    }
    const uint64_t key = (uint64_t{id} << 32) | next;
    if (const uint32_t known = emitted_.find(key); known != IdMap::kNone) return known;
    const uint32_t start = emit_new(grammar_.node(id), next);
    emitted_.add(key, start);
    return start;
  }

  uint32_t emit_new(const GrammarNode& node, uint32_t next) {
    switch (node.kind) {
      case NodeKind::kLiteral:
        return emit_literal(grammar_.text(node), next);
      case NodeKind::kSet:
        return emit_set(node, next);
      case NodeKind::kSequence: {
        const auto parts = grammar_.children(node);
        for (size_t i = parts.size(); i-- > 0;) next = emit(parts[i], next);
        return next;
      }
      case NodeKind::kChoice:
        return emit_choice(grammar_.children(node), next);
      case NodeKind::kRepeat:
        return emit_repeat(node, next);
      case NodeKind::kRule:
        return emit_reference(node.first, next);
    }
    return next;
  }

  uint32_t emit_literal(std::string_view text, uint32_t next) {
    for (size_t i = text.size(); i-- > 0 && !is_full_;) {
      const auto byte = static_cast<uint8_t>(text[i]);
      next = byte_state(byte, byte, next);
    }
    return next;
  }

  uint32_t emit_set(const GrammarNode& node, uint32_t next) {
    auto [place, is_new] = sequences_.try_emplace(node.first);
    if (is_new) place->second = utf8_sequences(grammar_.set_of(node));
    std::vector<ByteEdge> first_bytes;
    for (const ByteSequence& sequence : place->second) {
      uint32_t state = next;
      for (int i = sequence.length; i-- > 1;) state = byte_state(sequence.first[i], sequence.last[i], state);
      first_bytes.push_back({sequence.first[0], sequence.last[0], state});
    }
    const auto first = static_cast<uint32_t>(nfa_.edges.size());
    nfa_.edges.insert(nfa_.edges.end(), first_bytes.begin(), first_bytes.end());
    return add({NfaState::Kind::kBytes, first, static_cast<uint32_t>(first_bytes.size())});
  }

  uint32_t emit_choice(std::span<const NodeId> alternatives, uint32_t next) {
    std::vector<uint32_t> starts;
    for (const NodeId alternative : alternatives) starts.push_back(emit(alternative, next));
    if (starts.size() == 1) return starts[0];
    const uint32_t state = add_split(static_cast<uint32_t>(starts.size()));
    std::copy(starts.begin(), starts.end(), nfa_.targets.begin() + nfa_.states[state].first);
    return state;
  }

  uint32_t emit_repeat(const GrammarNode& node, uint32_t next) {
    uint32_t state = next;
    if (node.max == kUnbounded) {
      state = add_split(2);
      set_targets(state, emit(node.first, state), next);
    } else {
      for (uint32_t i = node.min; i < node.max && !is_full_; ++i)
        state = split(emit(node.first, state), next);
    }
    for (uint32_t i = 0; i < node.min && !is_full_; ++i) state = emit(node.first, state);
    return state;
  }

  uint32_t emit_reference(RuleId rule, uint32_t next) {
    if (next == Nfa::kEndState) return Nfa::entry(rule);
    if (facts_[rule].is_inlined && inlining_ == Inlining::kAllowed) {
      return emit(grammar_.rules()[rule].body, next);
    }
    return add({NfaState::Kind::kCall, rule, next});
  }

  // One sweep: what a state leads to has a smaller id, save for rules' entries, whose needs are known, and
  // the bodies of loops, which lead back to the loop and so never need less.
  void find_needs() {
    nfa_.need.assign(nfa_.states.size(), kUnreachable);
    nfa_.need[Nfa::kEndState] = 0;
    for (RuleId rule = 0; rule < facts_.size(); ++rule) nfa_.need[Nfa::entry(rule)] = facts_[rule].need;
    for (size_t id = Nfa::entry(static_cast<RuleId>(facts_.size())); id < nfa_.states.size(); ++id) {
      nfa_.need[id] = need_of(nfa_.states[id]);
    }
  }
  uint32_t need_of(const NfaState& state) const {
    uint32_t need = kUnreachable;
    if (state.kind == NfaState::Kind::kCall) {
      const uint32_t rule_need = facts_[state.first].need;
      return rule_need == kUnreachable ? kUnreachable : std::max(1 + rule_need, nfa_.need[state.count]);
    }
    for (uint32_t i = state.first; i < state.first + state.count; ++i) {
      const bool is_split = state.kind == NfaState::Kind::kSplit;
      need = std::min(need, nfa_.need[is_split ? nfa_.targets[i] : nfa_.edges[i].target]);
    }
    return need;
  }

  // Bytes of one class lie next to each other: a new class begins wherever an edge begins or has ended.
  void find_classes() {
    std::array<bool, 257> begins{};
    for (const ByteEdge& edge : nfa_.edges) {
      begins[edge.first] = true;
      begins[size_t{edge.last} + 1] = true;
    }
    begins[0] = true;
    for (size_t byte = 0; byte < 256; ++byte) {
      if (begins[byte]) nfa_.class_byte.push_back(static_cast<uint8_t>(byte));
      nfa_.class_of[byte] = static_cast<uint8_t>(nfa_.class_byte.size() - 1);
    }
    nfa_.num_classes = static_cast<int>(nfa_.class_byte.size());
  }

  const Grammar& grammar_;
  const std::vector<RuleFacts>& facts_;
  const Inlining inlining_;
  const size_t max_states_;
  Nfa nfa_;
  IdMap emitted_;
  IdMap byte_states_;
  std::unordered_map<uint32_t, std::vector<ByteSequence>> sequences_;
  size_t steps_ = 0;
  bool is_full_ = false;
};

}  // namespace

Result<Nfa> build_nfa(const Grammar& grammar, const std::vector<RuleFacts>& facts) {
  const bool has_inlined =
      std::any_of(facts.begin() + 1, facts.end(), [](const RuleFacts& rule) { return rule.is_inlined; });
  if (has_inlined) {
    Builder inlined(grammar, facts, Inlining::kAllowed);
    if (inlined.run()) return inlined.finish();
  }
  Builder called(grammar, facts, Inlining::kNever);
  if (called.run()) return called.finish();
  return invalid_argument("the automaton is over the limit of {} states, {} edges or {} steps", kMaxNfaStates,
                          kMaxNfaEdges, kMaxEmitSteps);
}

}  // namespace fathom
