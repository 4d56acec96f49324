#include "constrain/automaton.h"

#include <algorithm>
#include <map>

#include "base/random.h"
#include "constrain/limits.h"

namespace fathom {

using StateKind = NfaState::Kind;

Automaton::Automaton(Nfa nfa) : nfa_(std::move(nfa)), marks_(nfa_.states.size(), 0) {
  nfa_bytes_ = nfa_.states.size() * (sizeof(NfaState) + 2 * sizeof(uint32_t)) +
               nfa_.edges.size() * sizeof(ByteEdge) + nfa_.targets.size() * sizeof(uint32_t);
  intern({});  // kDead
  states_.assign(1, Nfa::entry(0));
  start_ = intern_closure();
}

bool Automaton::is_worn() const { return bytes_ > kMaxAutomatonBytes / 2; }

void Automaton::forget_failure() {
  if (!is_full_) status_ = ok_status();
}

void Automaton::fail(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

ItemId Automaton::intern_closure() {
  std::vector<uint32_t> closure;
  ++mark_;
  while (!states_.empty()) {
    const uint32_t id = states_.back();
    states_.pop_back();
    ++work_;
    if (marks_[id] == mark_ || nfa_.need[id] == kUnreachable) continue;
    marks_[id] = mark_;
    const NfaState& state = nfa_.states[id];
    if (state.kind != StateKind::kSplit) {
      closure.push_back(id);
      continue;
    }
    const auto targets = std::span(nfa_.targets).subspan(state.first, state.count);
    states_.insert(states_.end(), targets.begin(), targets.end());
  }
  std::sort(closure.begin(), closure.end());
  return intern(std::move(closure));
}

ItemId Automaton::intern(std::vector<uint32_t> states) {
  uint64_t hash = states.size();
  for (const uint32_t state : states) hash = mix_bits(hash ^ state);
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    if (items_[it->second].states == states) return it->second;
  }
  const auto classes = static_cast<size_t>(nfa_.num_classes);
  // Beside its own: the nodes of two hash tables and vectors' spare room.
  const size_t cost = sizeof(Item) + states.size() * sizeof(uint32_t) + classes * sizeof(int32_t) + 128;
  if (bytes_ + cost > kMaxAutomatonBytes) {
    is_full_ = true;
    fail(invalid_argument("the constraint's automaton is over the limit of {} bytes at {} states",
                          kMaxAutomatonBytes, items_.size()));
    return kDead;
  }
  bytes_ += cost;
  Item item;
  for (const uint32_t state : states) {
    item.ends |= nfa_.states[state].kind == StateKind::kEnd;
    item.has_bytes |= nfa_.states[state].kind == StateKind::kBytes;
    item.need = std::min(item.need, nfa_.need[state]);
  }
  item.states = std::move(states);
  const auto id = static_cast<ItemId>(items_.size());
  items_.push_back(std::move(item));
  transitions_.resize(transitions_.size() + classes, id == kDead ? int32_t{kDead} : -1);
  by_hash_.emplace(hash, id);
  return id;
}

ItemId Automaton::find_next(ItemId item, int byte_class) {
  if (!status_.ok()) return kDead;
  const uint8_t byte = nfa_.class_byte[static_cast<size_t>(byte_class)];
  states_.clear();
  for (const uint32_t id : items_[item].states) {
    const NfaState& state = nfa_.states[id];
    if (state.kind != StateKind::kBytes) continue;
    work_ += state.count;
    for (uint32_t i = state.first; i < state.first + state.count; ++i) {
      const ByteEdge& edge = nfa_.edges[i];
      if (edge.first <= byte && byte <= edge.last) states_.push_back(edge.target);
    }
  }
  const ItemId found = intern_closure();
  transitions_[size_t{item} * static_cast<size_t>(nfa_.num_classes) + static_cast<size_t>(byte_class)] =
      static_cast<int32_t>(found);
  return found;
}

ItemId Automaton::unite(ItemId a, ItemId b) {
  if (a == b || b == kDead) return a;
  if (a == kDead) return b;
  const uint64_t key = (uint64_t{std::min(a, b)} << 32) | std::max(a, b);
  if (const uint32_t known = unions_.find(key); known != IdMap::kNone) return known;
  std::vector<uint32_t> states;
  std::set_union(items_[a].states.begin(), items_[a].states.end(), items_[b].states.begin(),
                 items_[b].states.end(), std::back_inserter(states));
  work_ += states.size();
  bytes_ += 64;
  const ItemId both = intern(std::move(states));
  unions_.add(key, both);
  return both;
}

// Calls of one rule become one call: what comes after is the union.
void Automaton::list_calls(ItemId item) {
  if (items_[item].has_listed_calls) return;
  std::map<uint32_t, std::vector<uint32_t>> after;
  for (const uint32_t id : items_[item].states) {
    const NfaState& state = nfa_.states[id];
    if (state.kind == StateKind::kCall) after[state.first].push_back(state.count);
  }
  std::vector<Call> calls;
  for (auto& [rule, states] : after) {
    states_.assign(1, Nfa::entry(rule));
    const ItemId entry = intern_closure();
    states_ = std::move(states);
    calls.push_back({entry, intern_closure()});
  }
  bytes_ += calls.size() * sizeof(Call);
  items_[item].calls = std::move(calls);
  items_[item].has_listed_calls = true;
}

void Automaton::add(Configuration configuration, ConfigurationSet& set, const StackPool& pool) {
  const Item& item = items_[configuration.item];
  if (configuration.item == kDead) return;
  const uint32_t depth = pool.depth(configuration.stack) + item.need;
  set.rise = std::max(set.rise, depth);
  if (depth > kMaxStackDepth) return;
  for (size_t i = 0; i < set.closed.size(); ++i) {
    Configuration& known = set.closed[i];
    if (known.stack != configuration.stack) continue;
    const ItemId both = unite(known.item, configuration.item);
    if (both != known.item) pending_.push_back(i);
    known.item = both;
    return;
  }
  if (set.closed.size() == kMaxConfigurations) {
    return fail(invalid_argument("the constraint can read its text in more than the limit of {} ways at once",
                                 kMaxConfigurations));
  }
  pending_.push_back(set.closed.size());
  set.closed.push_back(configuration);
}

void Automaton::close(ConfigurationSet& set, StackPool& pool) {
  set.closed.clear();
  set.finished = false;
  set.rise = 0;
  pending_.clear();
  for (const Configuration& configuration : set.kernel) add(configuration, set, pool);
  while (!pending_.empty() && status_.ok()) {
    const Configuration from = set.closed[pending_.back()];
    pending_.pop_back();
    ++work_;
    if (items_[from.item].ends) {
      if (from.stack == StackPool::kEmpty) {
        set.finished = true;
      } else {
        add({pool.top(from.stack), pool.pop(from.stack)}, set, pool);
      }
    }
    list_calls(from.item);
    for (size_t i = 0; i < items_[from.item].calls.size(); ++i) {
      const Call call = items_[from.item].calls[i];
      add({call.entry, pool.push(from.stack, call.after)}, set, pool);
    }
  }
  if (!status_.ok()) set = {};
}

void Automaton::step(const ConfigurationSet& in, int byte_class, StackPool& pool, ConfigurationSet& out) {
  out.kernel.clear();
  for (const Configuration& from : in.closed) {
    const ItemId item = next(from.item, byte_class);
    if (item == kDead) continue;
    const auto same = std::find_if(
        out.kernel.begin(), out.kernel.end(),
        [&from](const Configuration& configuration) { return configuration.stack == from.stack; });
    if (same == out.kernel.end()) {
      out.kernel.push_back({item, from.stack});
    } else {
      same->item = unite(same->item, item);
    }
  }
  close(out, pool);
}

bool Automaton::can_go_on(const ConfigurationSet& set) const {
  return std::any_of(set.closed.begin(), set.closed.end(), [this](const Configuration& configuration) {
    return items_[configuration.item].has_bytes;
  });
}

}  // namespace fathom
