#include "cli/count_list.h"

#include "cli/console.h"

namespace fathom {
namespace {

constexpr uint64_t kMaxCount = uint64_t{1} << 24;
constexpr size_t kMaxEntries = 256;

Result<int64_t> parse_count(std::string_view text, std::string_view option) {
  FATHOM_ASSIGN_OR_RETURN(const uint64_t count, parse_size(text, option));
  if (count < 1 || count > kMaxCount)
    return invalid_argument("{}: {} is outside [1, {}]", option, text, kMaxCount);
  return static_cast<int64_t>(count);
}

Result<std::vector<std::string_view>> split(std::string_view text, std::string_view option) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    if (parts.size() == kMaxEntries) return invalid_argument("{}: over {} entries", option, kMaxEntries);
    const size_t comma = text.find(',');
    parts.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return invalid_argument("{}: ends with a comma", option);
  }
  return parts;
}

}  // namespace

Result<std::vector<int64_t>> parse_count_list(std::string_view text, std::string_view option) {
  FATHOM_ASSIGN_OR_RETURN(const auto parts, split(text, option));
  std::vector<int64_t> counts;
  for (std::string_view part : parts) {
    FATHOM_ASSIGN_OR_RETURN(const int64_t count, parse_count(part, option));
    counts.push_back(count);
  }
  return counts;
}

Result<std::vector<std::pair<int64_t, int64_t>>> parse_pair_list(std::string_view text,
                                                                 std::string_view option) {
  FATHOM_ASSIGN_OR_RETURN(const auto parts, split(text, option));
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (std::string_view part : parts) {
    const size_t cross = part.find('x');
    if (cross == std::string_view::npos) {
      return invalid_argument("{}: \"{}\" is not INPUTxOUTPUT (example: 2048x128)", option, part);
    }
    FATHOM_ASSIGN_OR_RETURN(const int64_t input, parse_count(part.substr(0, cross), option));
    FATHOM_ASSIGN_OR_RETURN(const int64_t output, parse_count(part.substr(cross + 1), option));
    pairs.emplace_back(input, output);
  }
  return pairs;
}

}  // namespace fathom
