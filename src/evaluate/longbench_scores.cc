#include "evaluate/longbench_scores.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "evaluate/plain_text.h"

namespace fathom {
namespace {

using Words = std::vector<std::string>;

constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
// As in the original, which has 》 and not 《.
constexpr std::string_view kChinesePunctuation =
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚"
    "〛〜〝〞"
    "〟〰〾〿–—‘’‛“”„‟…‧﹏.";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Case of ASCII letters only: what the texts hold.
std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

Words split_words(std::string_view text) {
  Words words;
  std::string word;
  for (std::string_view character : split_characters(text)) {
    if (!strip(character).empty()) {
      word += character;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

Words english_words(std::string_view text) {
  std::string kept = lower(text);
  std::erase_if(kept, [](char c) { return kPunctuation.find(c) != std::string_view::npos; });
  Words words = split_words(kept);
  std::erase_if(words, [](const std::string& word) { return word == "a" || word == "an" || word == "the"; });
  return words;
}

Words chinese_characters(std::string_view text) {
  const std::string kept = lower(text);
  Words characters;
  for (std::string_view character : split_characters(kept)) {
    const bool is_left_out = strip(character).empty() ||
                             kPunctuation.find(character) != std::string_view::npos ||
                             kChinesePunctuation.find(character) != std::string_view::npos;
    if (!is_left_out) characters.emplace_back(character);
  }
  return characters;
}

double f1(size_t common, size_t answer, size_t truth) {
  if (common == 0) return 0;
  return 2 * static_cast<double>(common) / static_cast<double>(answer + truth);
}

size_t common_subsequence(std::span<const std::string> a, std::span<const std::string> b) {
  std::vector<size_t> row(b.size() + 1);
  for (const std::string& word : a) {
    size_t diagonal = 0;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = word == b[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return row.back();
}

Words characters_of(std::string_view text) {
  Words characters;
  for (std::string_view character : split_characters(text)) characters.emplace_back(character);
  return characters;
}

std::vector<std::string_view> numbers_of(std::string_view text) {
  std::vector<std::string_view> numbers;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && is_digit(text[end])) ++end;
    if (end > at) numbers.push_back(text.substr(at, end - at));
    at = std::max(end, at + 1);
  }
  return numbers;
}

}  // namespace

double answer_f1(std::string_view answer, std::string_view truth, Script script) {
  const auto words_of = script == Script::kEnglish ? english_words : chinese_characters;
  const Words got = words_of(answer), want = words_of(truth);
  std::map<std::string, size_t> open;
  for (const std::string& word : want) ++open[word];
  size_t common = 0;
  for (const std::string& word : got) {
    const auto found = open.find(word);
    if (found == open.end() || found->second == 0) continue;
    --found->second;
    ++common;
  }
  return f1(common, got.size(), want.size());
}

double rouge_l(std::string_view answer, std::string_view truth, Script script) {
  const auto words_of = [script](std::string_view text) {
    return script == Script::kEnglish ? split_words(text) : characters_of(without_white_space(text));
  };
  const Words got = words_of(answer), want = words_of(truth);
  return f1(common_subsequence(got, want), got.size(), want.size());
}

double class_score(std::string_view answer, std::string_view truth, const std::vector<std::string>& classes) {
  size_t named = 0;
  bool is_right = false;
  for (const std::string& name : classes) {
    if (answer.find(name) == std::string_view::npos) continue;
    // A part of the right name is in the answer only because the right name is.
    if (name != truth && truth.find(name) != std::string_view::npos) continue;
    ++named;
    is_right = is_right || name == truth;
  }
  return is_right ? 1 / static_cast<double>(named) : 0;
}

double number_share(std::string_view answer, std::string_view truth) {
  const auto numbers = numbers_of(answer);
  if (numbers.empty()) return 0;
  return static_cast<double>(std::count(numbers.begin(), numbers.end(), truth)) /
         static_cast<double>(numbers.size());
}

std::string_view number_after(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    size_t end = at + word.size();
    while (end < text.size() && is_digit(text[end])) ++end;
    if (end > at + word.size()) return text.substr(at + word.size(), end - at - word.size());
  }
  return {};
}

double code_likeness(std::string_view answer, std::string_view truth) {
  std::string_view line;
  for (std::string_view one :
       split(answer.substr(std::min(answer.find_first_not_of('\n'), answer.size())), "\n")) {
    if (one.find_first_of("`#") != std::string_view::npos || one.find("//") != std::string_view::npos)
      continue;
    line = one;
    break;
  }
  const Words got = characters_of(line), want = characters_of(truth);
  if (got.empty() && want.empty()) return 1;
  return std::round(100 * f1(common_subsequence(got, want), got.size(), want.size())) / 100;
}

}  // namespace fathom
