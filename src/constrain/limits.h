// How large a constraint may be. A client writes it, so every stage has a bound: what goes over one is an
// error that names the limit and the value, before time or memory is spent.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fathom {

// Of a regular expression, a grammar, a schema or all choices together.
inline constexpr size_t kMaxConstraintBytes = size_t{256} << 10;
inline constexpr size_t kMaxConstraintChoices = 4096;
// Groups in groups, schemas in schemas. The parsers use the machine stack.
inline constexpr int kMaxConstraintNesting = 64;
inline constexpr size_t kMaxGrammarRules = 4096;
inline constexpr size_t kMaxGrammarNodes = size_t{1} << 17;
// Depth of the tree of one rule with what is written in place of rules it names; the compiler recurses over
// it.
inline constexpr uint32_t kMaxGrammarHeight = 512;
// n of {m,n}; also of maxLength, maxItems and their like.
inline constexpr uint32_t kMaxRepetition = 10'000;
// Of the automaton over bytes: about 10 MB. 10,000 characters of a JSON string take 110,000 states.
inline constexpr size_t kMaxNfaStates = size_t{1} << 18;
inline constexpr size_t kMaxNfaEdges = size_t{1} << 20;
// Where rules written out in place of their references come to more states, they are called instead.
inline constexpr size_t kMaxInlinedStates = size_t{1} << 16;
// Steps of examining the rules, and of emitting the automaton: each some 20 ms.
inline constexpr size_t kMaxAnalysisSteps = size_t{1} << 21;
inline constexpr size_t kMaxEmitSteps = size_t{1} << 20;

// Rules under way at once: twice that many levels of brackets are not JSON that anybody reads.
inline constexpr uint32_t kMaxStackDepth = 256;
// Ways in which a text may be read at once.
inline constexpr size_t kMaxConfigurations = 128;
// Deterministic states made so far, per constraint, over all its matchers.
inline constexpr size_t kMaxAutomatonBytes = size_t{48} << 20;
// The walks for one mask: states they may make, and trie nodes and elements of state sets they may look at
// (some 40 ms; a walk over 102,400 tokens looks at about 250,000).
inline constexpr size_t kMaxWalkStates = size_t{1} << 16;
inline constexpr size_t kMaxWalkSteps = size_t{1} << 23;
// Masks kept, per constraint; when they are more, all are dropped and made anew as needed.
inline constexpr size_t kMaxMaskBytes = size_t{48} << 20;

}  // namespace fathom
