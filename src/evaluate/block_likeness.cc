#include "evaluate/block_likeness.h"

#include <unordered_map>
#include <vector>

#include "evaluate/plain_text.h"

namespace fathom {
namespace {

constexpr size_t kManyCharacters = 200;

using Characters = std::vector<std::string_view>;

struct Range {
  size_t begin, end;
};

struct Block {
  size_t a = 0, b = 0, size = 0;  // where it begins in either, and its characters
};

class Matcher {
 public:
  Matcher(std::string_view a, std::string_view b) : a_(split_characters(a)), b_(split_characters(b)) {
    for (size_t j = 0; j < b_.size(); ++j) places_[b_[j]].push_back(j);
    if (b_.size() < kManyCharacters) return;
    std::erase_if(places_, [&](const auto& one) { return one.second.size() > b_.size() / 100 + 1; });
  }

  double ratio() const {
    const size_t all = a_.size() + b_.size();
    return all == 0 ? 1 : 2 * static_cast<double>(matching()) / static_cast<double>(all);
  }

 private:
  size_t matching() const {
    struct Part {
      Range a, b;
    };
    std::vector<Part> open = {{{0, a_.size()}, {0, b_.size()}}};
    size_t total = 0;
    while (!open.empty()) {
      const auto [a, b] = open.back();
      open.pop_back();
      const Block block = longest(a, b);
      if (block.size == 0) continue;
      total += block.size;
      open.push_back({{a.begin, block.a}, {b.begin, block.b}});
      open.push_back({{block.a + block.size, a.end}, {block.b + block.size, b.end}});
    }
    return total;
  }

  // The longest block, of several the first one in a, and of these the first one in b.
  Block longest(Range a, Range b) const {
    Block best{a.begin, b.begin, 0};
    std::vector<size_t> before(b_.size() + 1), now(b_.size() + 1);  // [j + 1]: of the block that ends at b[j]
    for (size_t i = a.begin; i < a.end; ++i) {
      const auto places = places_.find(a_[i]);
      if (places != places_.end()) {
        for (size_t j : places->second) {
          if (j < b.begin || j >= b.end) continue;
          now[j + 1] = (j > b.begin ? before[j] : 0) + 1;
          if (now[j + 1] > best.size) best = {i + 1 - now[j + 1], j + 1 - now[j + 1], now[j + 1]};
        }
      }
      std::swap(before, now);
      now.assign(now.size(), 0);
    }
    while (best.a > a.begin && best.b > b.begin && a_[best.a - 1] == b_[best.b - 1])
      --best.a, --best.b, ++best.size;
    while (best.a + best.size < a.end && best.b + best.size < b.end &&
           a_[best.a + best.size] == b_[best.b + best.size])
      ++best.size;
    return best;
  }

  Characters a_, b_;
  std::unordered_map<std::string_view, std::vector<size_t>> places_;  // in b, of each character
};

}  // namespace

double block_likeness(std::string_view a, std::string_view b) { return Matcher(a, b).ratio(); }

}  // namespace fathom
