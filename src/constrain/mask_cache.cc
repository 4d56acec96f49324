#include "constrain/mask_cache.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/random.h"
#include "constrain/limits.h"

namespace fathom {
namespace {

void set_bit(std::span<uint32_t> bits, int32_t token) {
  bits[static_cast<size_t>(token) / 32] |= 1u << (static_cast<uint32_t>(token) % 32);
}

}  // namespace

// Walk states with the two vectors and the hash table's node of each.
size_t MaskCache::num_bytes() const {
  constexpr size_t kWalkStateBytes = sizeof(WalkState) + 128;
  return mask_bytes_ + walk_states_.size() * kWalkStateBytes + walk_next_.capacity() * sizeof(int32_t);
}

void MaskCache::forget_masks() {
  masks_.clear();
  by_key_.clear();
  mask_bytes_ = 0;
}

void MaskCache::forget_walks() {
  walk_states_.assign(1, {});
  walk_next_.clear();
  walk_by_hash_.clear();
  walk_pool_.clear();
}

uint32_t MaskCache::walk_state(ConfigurationSet set) {
  if (set.kernel.empty()) return 0;
  std::sort(set.kernel.begin(), set.kernel.end(),
            [](const Configuration& a, const Configuration& b) { return a.stack < b.stack; });
  uint64_t hash = 0;
  for (const Configuration& c : set.kernel) hash = mix_bits(hash ^ ((uint64_t{c.stack} << 32) | c.item));
  const auto [first, last] = walk_by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    if (walk_states_[it->second].set.kernel == set.kernel) return it->second;
  }
  const auto id = static_cast<uint32_t>(walk_states_.size());
  const uint32_t rise_and_finished = (set.rise << 1) | static_cast<uint32_t>(set.finished);
  walk_states_.push_back({std::move(set), rise_and_finished});
  walk_by_hash_.emplace(hash, id);
  return id;
}

uint32_t MaskCache::find_next(uint32_t state, int byte_class, Automaton& automaton) {
  ConfigurationSet next;
  automaton.step(walk_states_[state].set, byte_class, walk_pool_, next);
  const bool is_empty = next.closed.empty() && !next.finished;
  const uint32_t id = is_empty ? 0 : walk_state(std::move(next));
  const auto classes = static_cast<size_t>(automaton.num_classes());
  if (walk_next_.size() < walk_states_.size() * classes) walk_next_.resize(walk_states_.size() * classes, -1);
  walk_next_[state * classes + static_cast<size_t>(byte_class)] = static_cast<int32_t>(id);
  return id;
}

void MaskCache::walk_below(uint32_t start, uint32_t state, Automaton& automaton, Mask& mask) {
  const std::span<const TokenTrie::Node> nodes = trie_->nodes();
  const std::span<const int32_t> tokens = trie_->tokens();
  const auto classes = static_cast<size_t>(automaton.num_classes());
  const uint32_t start_depth = nodes[start].depth;
  uint32_t rise = mask.rise;
  if (levels_.empty()) levels_.resize(TokenTrie::kMaxTokenBytes + 1);
  levels_[0] = state;
  for (uint32_t i = start + 1; i < nodes[start].after;) {
    const TokenTrie::Node& node = nodes[i];
    ++steps_;
    const uint32_t level = node.depth - start_depth;
    const uint32_t from = levels_[level - 1];
    const uint8_t byte_class = automaton.class_of(static_cast<uint8_t>(node.byte));
    int32_t next = walk_next_[from * classes + byte_class];
    if (next < 0) {
      next = static_cast<int32_t>(find_next(from, byte_class, automaton));
      if (is_over_limits(automaton)) return;
    }
    if (next == 0) {
      i = node.after;
      continue;
    }
    levels_[level] = static_cast<uint32_t>(next);
    for (uint32_t t = node.first_token; t < nodes[i + 1].first_token; ++t) set_bit(words_, tokens[t]);
    const uint32_t rise_and_finished = walk_states_[static_cast<size_t>(next)].rise_and_finished;
    rise = std::max(rise, rise_and_finished >> 1);
    if ((rise_and_finished & 1) != 0 && node.after > i + 1) mask.exits.push_back(i);
    ++i;
  }
  mask.rise = rise;
}

bool MaskCache::is_over_limits(const Automaton& automaton) {
  if (automaton.status().ok() && steps_ + automaton.work() - first_work_ <= kMaxWalkSteps &&
      walk_states_.size() <= kMaxWalkStates) {
    return false;
  }
  walk_status_ = invalid_argument(
      "the constraint's next tokens take more than the limit of {} states or {} steps to find",
      kMaxWalkStates, kMaxWalkSteps);
  return true;
}

MaskCache::Mask MaskCache::walk(std::span<const uint32_t> from, ItemId item, Automaton& automaton) {
  if (walk_states_.empty() || walk_states_.size() > kMaxWalkStates / 2) forget_walks();
  ConfigurationSet set;
  set.kernel = {{item, StackPool::kEmpty}};
  automaton.close(set, walk_pool_);
  const uint32_t state = walk_state(std::move(set));
  walk_next_.resize(walk_states_.size() * static_cast<size_t>(automaton.num_classes()), -1);
  words_.assign(trie_->num_words(), 0);
  Mask mask;
  const uint32_t rise_and_finished = walk_states_[state].rise_and_finished;
  mask.rise = rise_and_finished >> 1;
  for (const uint32_t node : from) {
    if ((rise_and_finished & 1) != 0) mask.exits.push_back(node);
    walk_below(node, state, automaton, mask);
    if (is_over_limits(automaton)) break;
  }
  std::sort(mask.exits.begin(), mask.exits.end());
  mask.exits.erase(std::unique(mask.exits.begin(), mask.exits.end()), mask.exits.end());
  pack(mask);
  return mask;
}

void MaskCache::pack(Mask& mask) {
  size_t count = 0;
  for (const uint32_t word : words_) count += static_cast<size_t>(std::popcount(word));
  if (count >= words_.size()) {
    mask.words = words_;
    return;
  }
  mask.tokens.reserve(count);
  for (size_t i = 0; i < words_.size(); ++i) {
    for (uint32_t word = words_[i]; word != 0; word &= word - 1) {
      mask.tokens.push_back(static_cast<int32_t>(i * 32) + std::countr_zero(word));
    }
  }
}

Result<uint32_t> MaskCache::find(uint32_t above, ItemId item, Automaton& automaton) {
  const uint64_t key = (uint64_t{above} << 32) | item;
  if (const uint32_t known = by_key_.find(key); known != IdMap::kNone) return known;
  static constexpr uint32_t kRoot[] = {0};
  const auto from =
      above == kNoMask ? std::span<const uint32_t>(kRoot) : std::span<const uint32_t>(masks_[above].exits);
  Mask mask = walk(from, item, automaton);
  if (!automaton.status().ok()) walk_status_ = automaton.status();
  if (!walk_status_.ok()) {
    forget_walks();  // what failed stands among them as a dead end
    return std::exchange(walk_status_, ok_status());
  }
  mask_bytes_ += sizeof(Mask) + 4 * (mask.words.size() + mask.tokens.size() + mask.exits.size()) + 64;
  const auto id = static_cast<uint32_t>(masks_.size());
  masks_.push_back(std::move(mask));
  by_key_.add(key, id);
  return id;
}

Status MaskCache::add_allowed(const ConfigurationSet& set, StackPool& pool, Automaton& automaton,
                              std::span<uint32_t> bits) {
  steps_ = 0;
  first_work_ = automaton.work();
  for (const Configuration& configuration : set.kernel) {
    if (mask_bytes_ > kMaxMaskBytes) forget_masks();
    uint32_t stack = configuration.stack;
    ItemId item = configuration.item;
    for (uint32_t above = kNoMask;;) {
      FATHOM_ASSIGN_OR_RETURN(const uint32_t id, find(above, item, automaton));
      const Mask& mask = masks_[id];
      if (pool.depth(stack) + mask.rise > kMaxStackDepth) {
        return add_allowed_directly(set, pool, automaton, bits);
      }
      for (size_t i = 0; i < mask.words.size(); ++i) bits[i] |= mask.words[i];
      for (const int32_t token : mask.tokens) set_bit(bits, token);
      if (mask.exits.empty() || stack == StackPool::kEmpty) break;
      item = pool.top(stack);
      stack = pool.pop(stack);
      above = id;
    }
  }
  return ok_status();
}

Status MaskCache::add_allowed_directly(const ConfigurationSet& set, StackPool& pool, Automaton& automaton,
                                       std::span<uint32_t> bits) {
  const std::span<const TokenTrie::Node> nodes = trie_->nodes();
  const size_t work_limit = automaton.work() + kMaxWalkSteps;
  std::vector<ConfigurationSet> levels(1, set);
  for (uint32_t i = 1; i < nodes[0].after;) {
    const TokenTrie::Node& node = nodes[i];
    if (levels.size() <= node.depth) levels.resize(node.depth + 1);
    ConfigurationSet& next = levels[node.depth];
    automaton.step(levels[node.depth - 1], automaton.class_of(static_cast<uint8_t>(node.byte)), pool, next);
    FATHOM_RETURN_IF_ERROR(automaton.status());
    if (automaton.work() > work_limit) {
      return invalid_argument("the constraint's next tokens take more than the limit of {} steps to find",
                              kMaxWalkSteps);
    }
    if (next.closed.empty() && !next.finished) {
      i = node.after;
      continue;
    }
    for (uint32_t t = node.first_token; t < nodes[i + 1].first_token; ++t) set_bit(bits, trie_->tokens()[t]);
    ++i;
  }
  return ok_status();
}

}  // namespace fathom
