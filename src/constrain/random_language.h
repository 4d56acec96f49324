// For tests only: small random languages, spelled as GBNF or as a regular expression, and an oracle for their
// prefixes that shares nothing with the automata: the language cut with all texts of a prefix, as relations
// between positions in the prefix, by fixed point over the rules.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"

namespace fathom::constrain_test {

class RandomLanguage {
 public:
  enum class Rules { kNone, kSome };
  RandomLanguage(uint64_t seed, Rules rules);

  std::string regex() const { return spell_regex(rules_[0]); }
  std::string gbnf() const;

  // Whether some text of the language begins with the prefix; whether the prefix is one.
  bool begins(std::string_view prefix) const { return leads(prefix, true); }
  bool contains(std::string_view text) const { return leads(text, false); }

  // Parts of its characters: what tokens are made of.
  static const std::vector<std::string>& characters();

 private:
  struct Node {
    enum class Kind { kText, kSet, kSequence, kChoice, kRepeat, kRule } kind;
    std::vector<size_t> members;  // characters of a text or set; nodes; one node; one rule
    uint32_t min = 0;
    uint32_t max = 0;  // kNoMax
  };
  static constexpr uint32_t kNoMax = UINT32_MAX;
  // Row i: the positions that a node's texts lead to from position i.
  using Relation = std::vector<uint32_t>;

  uint64_t draw(uint64_t bound) { return random_bits(seed_, counter_++) % bound; }
  size_t add(int depth);
  std::string spell_regex(size_t node) const;
  std::string spell_gbnf(size_t node) const;
  bool leads(std::string_view text, bool is_open) const;
  Relation relation(size_t node, std::string_view text, bool is_open,
                    const std::vector<Relation>& rules) const;

  uint64_t seed_;
  uint64_t counter_ = 0;
  size_t num_rules_;
  std::vector<Node> nodes_;
  std::vector<size_t> rules_;  // their bodies
};

}  // namespace fathom::constrain_test
