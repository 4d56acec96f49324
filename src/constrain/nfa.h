// A grammar as a nondeterministic automaton over bytes, with states that call rules. Not for matching
// (constrain/automaton.h).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/status.h"
#include "constrain/grammar.h"

namespace fathom {

struct NfaState {
  enum class Kind : uint8_t {
    kEnd,    // the rule is over: back to what called it
    kBytes,  // edges [first, first + count)
    kSplit,  // any of targets [first, first + count), without a byte
    kCall,   // rule `first`, then state `count`
  };
  Kind kind = Kind::kEnd;
  uint32_t first = 0;
  uint32_t count = 0;
};

struct ByteEdge {
  uint8_t first;
  uint8_t last;  // inclusive
  uint32_t target;
};

struct Nfa {
  static constexpr uint32_t kEndState = 0;
  // Where a rule begins. A reference at the very end of a rule goes there without a call.
  static uint32_t entry(RuleId rule) { return 1 + rule; }

  std::vector<NfaState> states;
  std::vector<ByteEdge> edges;
  std::vector<uint32_t> targets;
  // By state: how many calls have to be open at once, beside the present one, to come to the rule's end;
  // kUnreachable: it cannot be reached. On some way to the end no later state needs more.
  std::vector<uint32_t> need;
  // Bytes that no edge tells apart are one class.
  int num_classes = 0;
  std::array<uint8_t, 256> class_of{};
  std::vector<uint8_t> class_byte;  // by class: one of its bytes
};

// facts: of analyse_grammar. Fails where the automaton would be over the limits.
Result<Nfa> build_nfa(const Grammar& grammar, const std::vector<RuleFacts>& facts);

}  // namespace fathom
