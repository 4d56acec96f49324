#include "parallel/agreement.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace fathom {
namespace {

constexpr uint32_t kMaxBytes = 64 << 10;
constexpr size_t kShownBytes = 80;

void append(std::string& text, const std::string& part) {
  const uint32_t size = static_cast<uint32_t>(part.size());
  text.append(reinterpret_cast<const char*>(&size), sizeof size);
  text += part;
}

// The inverse of append(); empty at the end.
std::string_view take(std::string_view& text) {
  uint32_t size = 0;
  if (text.size() < sizeof size) return {};
  std::memcpy(&size, text.data(), sizeof size);
  const std::string_view part = text.substr(sizeof size, size);
  text.remove_prefix(sizeof size + part.size());
  return part;
}

std::string_view shown(std::string_view value) { return value.substr(0, kShownBytes); }

Status compare(std::string_view first, std::string_view other, int rank) {
  while (!first.empty() || !other.empty()) {
    const std::string_view name = take(first), other_name = take(other);
    if (name != other_name) {
      return invalid_argument("ranks 0 and {} do not run the same: {} on rank 0, {} on rank {}", rank,
                              name.empty() ? "nothing more" : name,
                              other_name.empty() ? "nothing more" : other_name, rank);
    }
    const std::string_view value = take(first), other_value = take(other);
    if (value != other_value) {
      return invalid_argument("ranks 0 and {} differ in {}: {} on rank 0, {} on rank {}", rank, name,
                              shown(value), shown(other_value), rank);
    }
  }
  return ok_status();
}

}  // namespace

Status check_agreement(Communicator& communicator, std::span<const NamedValue> values) {
  std::string mine;
  for (const NamedValue& value : values) {
    append(mine, value.name);
    append(mine, value.value);
  }
  const size_t num_ranks = static_cast<size_t>(communicator.size());
  const uint32_t size = static_cast<uint32_t>(std::min<size_t>(mine.size(), kMaxBytes + 1));
  std::vector<uint32_t> sizes(num_ranks);
  FATHOM_RETURN_IF_ERROR(
      communicator.all_gather(std::as_bytes(std::span(&size, 1)), std::as_writable_bytes(std::span(sizes))));
  for (size_t rank = 0; rank < num_ranks; ++rank)
    if (sizes[rank] > kMaxBytes)
      return invalid_argument("rank {} has {} bytes or more to agree on; {} at most", rank, sizes[rank],
                              kMaxBytes);
  const size_t longest = *std::max_element(sizes.begin(), sizes.end());
  mine.resize(longest);
  std::string all(longest * num_ranks, '\0');
  FATHOM_RETURN_IF_ERROR(
      communicator.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all))));
  const auto text_of = [&](size_t rank) { return std::string_view(all).substr(rank * longest, sizes[rank]); };
  for (size_t rank = 1; rank < num_ranks; ++rank)
    FATHOM_RETURN_IF_ERROR(compare(text_of(0), text_of(rank), static_cast<int>(rank)));
  return ok_status();
}

}  // namespace fathom
