// The automaton that is run: states of an Nfa gathered into sets ("items"), made as they are met, and texts
// read as one or more pairs of an item and the stack of calls it stands on. Not for tokens
// (constrain/mask_cache.h).
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "constrain/id_map.h"
#include "constrain/nfa.h"
#include "constrain/stack_pool.h"

namespace fathom {

using ItemId = uint32_t;

// Within one rule: the item, with what comes after the rule's end on the stack.
struct Configuration {
  ItemId item = 0;
  uint32_t stack = StackPool::kEmpty;

  bool operator==(const Configuration&) const = default;
};

// All ways to read a text so far. Nothing is left of the text's language where both lists are empty and it is
// not finished.
struct ConfigurationSet {
  std::vector<Configuration> kernel;  // after the last byte; no two with one stack
  std::vector<Configuration> closed;  // kernel and what it leads to by calls and returns
  bool finished = false;              // the end of the rule at the bottom is reached
  // The greatest depth that a configuration of `closed`, or one left out for its depth, has or needs.
  uint32_t rise = 0;
};

// One thread at a time. Items are never dropped: an id stays valid. When they outgrow kMaxAutomatonBytes,
// status() says so from then on and every answer is "nothing"; when a text's configurations outgrow
// kMaxConfigurations, until forget_failure().
class Automaton {
 public:
  static constexpr ItemId kDead = 0;

  explicit Automaton(Nfa nfa);

  ItemId start() const { return start_; }
  int num_classes() const { return nfa_.num_classes; }
  uint8_t class_of(uint8_t byte) const { return nfa_.class_of[byte]; }
  const Nfa& nfa() const { return nfa_; }

  // Fills closed, finished and rise from the kernel.
  void close(ConfigurationSet& set, StackPool& pool);
  // out: what is left after a byte of the class; closed. in and out are different objects.
  void step(const ConfigurationSet& in, int byte_class, StackPool& pool, ConfigurationSet& out);
  // Whether some byte may follow.
  bool can_go_on(const ConfigurationSet& set) const;

  const Status& status() const { return status_; }
  // What was one text's fault is none of the next one's.
  void forget_failure();
  // Grows with every state set made or combined.
  size_t work() const { return work_; }
  size_t num_bytes() const { return nfa_bytes_ + bytes_; }
  // More than half way to kMaxAutomatonBytes.
  bool is_worn() const;

 private:
  struct Call {
    ItemId entry;
    ItemId after;
  };
  struct Item {
    std::vector<uint32_t> states;  // kEnd, kBytes and kCall, ascending
    std::vector<Call> calls;       // one per rule
    bool ends = false;
    bool has_bytes = false;
    bool has_listed_calls = false;
    uint32_t need = kUnreachable;
  };

  ItemId next(ItemId item, int byte_class) {
    const int32_t known =
        transitions_[size_t{item} * static_cast<size_t>(nfa_.num_classes) + static_cast<size_t>(byte_class)];
    return known >= 0 ? static_cast<ItemId>(known) : find_next(item, byte_class);
  }
  ItemId find_next(ItemId item, int byte_class);
  ItemId unite(ItemId a, ItemId b);
  void list_calls(ItemId item);
  // The item of states_: their closure over splits, without those from which no end is reached.
  ItemId intern_closure();
  ItemId intern(std::vector<uint32_t> states);
  // Adds to set.closed, uniting with what has the same stack; changed ones wait in pending_.
  void add(Configuration configuration, ConfigurationSet& set, const StackPool& pool);
  void fail(Status status);

  const Nfa nfa_;
  std::vector<Item> items_;
  std::vector<int32_t> transitions_;  // [items, classes]; -1: not made yet
  std::unordered_multimap<uint64_t, ItemId> by_hash_;
  IdMap unions_;
  ItemId start_ = kDead;
  size_t nfa_bytes_ = 0;
  size_t bytes_ = 0;  // of items and what is known of them
  size_t work_ = 0;
  Status status_;
  bool is_full_ = false;
  // Reused from call to call.
  std::vector<uint32_t> states_;
  std::vector<uint32_t> marks_;  // by state: mark_ where it is in the closure being made
  uint32_t mark_ = 0;
  std::vector<size_t> pending_;  // indices into closed
};

}  // namespace fathom
