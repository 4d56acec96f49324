#include "text/vocabulary.h"

#include <bit>
#include <functional>

#include "text/byte_alphabet.h"

namespace fathom {

Result<Vocabulary> Vocabulary::create(std::vector<Token> tokens) {
  Vocabulary result;
  result.tokens_ = std::move(tokens);
  const size_t count = result.tokens_.size();
  result.bytes_.resize(count);
  result.by_spelling_.reserve(count);
  result.byte_slots_.assign(std::bit_ceil(2 * count + 2), -1);
  for (size_t i = 0; i < count; ++i) {
    const auto id = static_cast<int32_t>(i);
    const Token& token = result.tokens_[i];
    const auto [other, inserted] = result.by_spelling_.emplace(token.spelling, id);
    if (!inserted)
      return invalid_data("token \"{}\" has two ids, {} and {}", other->first, other->second, id);
    std::optional<std::string> bytes = symbols_to_bytes(token.spelling);
    const bool byte_level = bytes.has_value();
    result.bytes_[i] = byte_level ? std::move(*bytes) : token.spelling;
    if (byte_level && token.in_model) result.index_bytes(id);
  }
  return result;
}

std::optional<int32_t> Vocabulary::find(std::string_view spelling) const {
  const auto found = by_spelling_.find(spelling);
  if (found == by_spelling_.end()) return std::nullopt;
  return found->second;
}

std::optional<int32_t> Vocabulary::find_bytes(std::string_view bytes) const {
  const int32_t id = byte_slots_[slot_of(bytes)];
  if (id < 0) return std::nullopt;
  return id;
}

// The slot that holds these bytes, or the free one where they would go.
size_t Vocabulary::slot_of(std::string_view bytes) const {
  const size_t mask = byte_slots_.size() - 1;
  size_t slot = std::hash<std::string_view>()(bytes) & mask;
  while (byte_slots_[slot] >= 0 && bytes_[static_cast<size_t>(byte_slots_[slot])] != bytes)
    slot = (slot + 1) & mask;
  return slot;
}

void Vocabulary::index_bytes(int32_t id) { byte_slots_[slot_of(bytes(id))] = id; }

}  // namespace fathom
