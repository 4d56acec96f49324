// Chinese text cut into words as the Python package jieba 0.42 cuts it, from that package's own files: the
// likeliest way through a dictionary, and a hidden Markov model for what the dictionary does not have.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"

namespace fathom {

class ChineseWords {
 public:
  // Without a dictionary: every character is a word.
  ChineseWords() = default;
  // folder: jieba's own, with dict.txt and finalseg/prob_start.py, prob_trans.py, prob_emit.py. Failure: one
  // is missing, or not of that form.
  static Result<ChineseWords> load(const std::string& folder);

  bool has_dictionary() const { return !counts_.empty(); }
  // The words in order, white space among them; together they are the text (UTF-8).
  std::vector<std::string> cut(std::string_view text) const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  template <typename Value>
  using ByText = std::unordered_map<std::string, Value, Hash, std::equal_to<>>;
  // Places in a word, in alphabetical order: beginning, end, middle, or a word of one character.
  static constexpr size_t kStates = 4;
  using Characters = std::vector<std::string_view>;

  Status read_dictionary(const std::string& path);
  Status read_model(const std::string& folder);
  void cut_block(const Characters& characters, std::vector<std::string>& words) const;
  // For each character the last one of the likeliest word that begins with it.
  std::vector<size_t> likeliest_path(const Characters& characters) const;
  // A run of characters that are no words of the dictionary together.
  void cut_unknown(std::string_view run, std::vector<std::string>& words) const;
  void cut_by_model(const Characters& characters, std::vector<std::string>& words) const;

  ByText<int64_t> counts_;  // of words; 0 for the beginning of one
  int64_t total_ = 0;
  std::array<double, kStates> start_{};                      // log-probabilities
  std::array<std::array<double, kStates>, kStates> next_{};  // [state before][state]
  std::array<ByText<double>, kStates> emits_;                // of characters
};

}  // namespace fathom
