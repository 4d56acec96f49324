// Which tokens may come next, per item of the automaton and apart from the stack below it, each found once by
// a walk over the trie and kept.
//
// A token that ends inside the item's rule, or just at its end, is allowed whatever the stack. A token that
// goes on beyond the end depends on what lies below: the walk notes the trie nodes at which the rule ended
// ("exits"), and the mask of the next item down the stack takes up the walk from there.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "constrain/automaton.h"
#include "constrain/id_map.h"
#include "constrain/token_trie.h"

namespace fathom {

// One thread at a time.
class MaskCache {
 public:
  explicit MaskCache(std::shared_ptr<const TokenTrie> trie) : trie_(std::move(trie)) {}

  // Sets the bits of all tokens that may follow set, whose stacks are of pool. Ends of text are left alone.
  // bits: [trie.num_words()] or longer. Fails where the automaton or a walk goes over its limits.
  Status add_allowed(const ConfigurationSet& set, StackPool& pool, Automaton& automaton,
                     std::span<uint32_t> bits);

  // The same without anything kept: token by token from the configurations themselves. What add_allowed does
  // where the limit on depth is near, and what tests compare it with.
  Status add_allowed_directly(const ConfigurationSet& set, StackPool& pool, Automaton& automaton,
                              std::span<uint32_t> bits);

  size_t num_bytes() const;

 private:
  struct Mask {
    std::vector<uint32_t> words;  // a bit per token; empty where tokens is the shorter list
    std::vector<int32_t> tokens;  // allowed ones
    std::vector<uint32_t> exits;  // trie nodes, ascending
    uint32_t rise = 0;            // the greatest depth the walk met or needs, from the item up
  };
  static constexpr uint32_t kNoMask = UINT32_MAX;

  // The mask of an item after the exits of mask `above`; from the root of the trie with kNoMask.
  Result<uint32_t> find(uint32_t above, ItemId item, Automaton& automaton);
  Mask walk(std::span<const uint32_t> from, ItemId item, Automaton& automaton);
  void walk_below(uint32_t node, uint32_t state, Automaton& automaton, Mask& mask);
  uint32_t walk_state(ConfigurationSet set);
  uint32_t find_next(uint32_t state, int byte_class, Automaton& automaton);
  void pack(Mask& mask);
  bool is_over_limits(const Automaton& automaton);  // and says so in walk_status_
  void forget_masks();
  void forget_walks();

  const std::shared_ptr<const TokenTrie> trie_;
  std::vector<Mask> masks_;
  IdMap by_key_;  // above << 32 | item
  size_t mask_bytes_ = 0;

  // Walks run over configuration sets with numbers: 0 is the empty one. Stacks stand on an unknown one.
  struct WalkState {
    ConfigurationSet set;
    uint32_t rise_and_finished = 0;  // rise << 1 | finished
  };
  std::vector<WalkState> walk_states_;
  std::vector<int32_t> walk_next_;  // [walk states, classes]; -1: not made yet
  std::unordered_multimap<uint64_t, uint32_t> walk_by_hash_;
  StackPool walk_pool_;
  Status walk_status_;
  size_t steps_ = 0;       // trie nodes looked at for the present mask
  size_t first_work_ = 0;  // the automaton's work before it
  // Reused from walk to walk.
  std::vector<uint32_t> levels_;  // by depth below the start: the state there
  std::vector<uint32_t> words_;
};

}  // namespace fathom
