#include "evaluate/longbench_scores.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>

#include "base/check.h"
#include "evaluate/block_likeness.h"
#include "evaluate/plain_text.h"
#include "text/regex.h"

namespace fathom {
namespace {

using Words = std::vector<std::string>;

constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
// As in the original, which has 》 and not 《.
constexpr std::string_view kChinesePunctuation =
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚"
    "〛〜〝〞"
    "〟〰〾〿–—‘’‛“”„‟…‧﹏.";
// Words of Python's \w that are articles.
constexpr std::string_view kArticle = R"((?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_]))";
constexpr std::string_view kDigits = R"(\p{Nd}+)";

// All matches in order. text is well-formed.
std::vector<std::string_view> matches_of(std::string_view pattern, std::string_view text) {
  const Result<Regex> regex = Regex::compile_native(pattern);
  FATHOM_CHECK(regex.ok(), "{}", regex.status().message());
  RegexScratch scratch;
  std::vector<std::string_view> matches;
  for (size_t at = 0;;) {
    const Result<Regex::Match> match = regex->find(text, at, scratch);
    if (!match.ok() || !match->found) return matches;
    matches.push_back(text.substr(match->begin, match->end - match->begin));
    at = match->end;
  }
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
  std::string kept = to_lower(text);
  std::erase_if(kept, [](char c) { return kPunctuation.find(c) != std::string_view::npos; });
  std::string without_articles;
  std::string_view rest = kept;
  for (std::string_view article : matches_of(kArticle, kept)) {
    const auto begin = static_cast<size_t>(article.data() - rest.data());
    without_articles.append(rest.substr(0, begin)).append(" ");
    rest.remove_prefix(begin + article.size());
  }
  return split_words(without_articles.append(rest));
}

// Without case, punctuation and white space.
std::string plain_chinese(std::string_view word) {
  std::string plain;
  const std::string kept = to_lower(word);
  for (std::string_view character : split_characters(kept)) {
    const bool is_left_out = strip(character).empty() ||
                             kPunctuation.find(character) != std::string_view::npos ||
                             kChinesePunctuation.find(character) != std::string_view::npos;
    if (!is_left_out) plain += character;
  }
  return plain;
}

Words plain_words(std::string_view text, const ChineseWords& words) {
  Words plain;
  for (const std::string& word : words.cut(text)) plain.push_back(plain_chinese(word));
  std::erase_if(plain, [](const std::string& word) { return word.empty(); });
  return plain;
}

double f1(size_t common, size_t answer, size_t truth) {
  if (common == 0) return 0;
  return 2 * static_cast<double>(common) / static_cast<double>(answer + truth);
}

// Of words with their number.
double f1_of(const Words& got, const Words& want) {
  std::map<std::string_view, size_t> open;
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

// A sentence of white space alone has one word, the empty one.
std::vector<Words> sentences_of(std::string_view text) {
  std::vector<Words> sentences;
  for (std::string_view sentence : split(text, ".")) {
    if (sentence.empty()) continue;
    sentences.push_back(split_words(sentence));
    if (sentences.back().empty()) sentences.back().emplace_back();
  }
  return sentences;
}

std::set<std::string_view> distinct_words(const std::vector<Words>& sentences) {
  std::set<std::string_view> words;
  for (const Words& sentence : sentences) words.insert(sentence.begin(), sentence.end());
  return words;
}

// Adds the words of a longest common subsequence; of several the one that the original finds from the end.
void add_common(const Words& truth, const Words& answer, std::set<std::string_view>& common) {
  const size_t width = answer.size() + 1;
  std::vector<uint32_t> length((truth.size() + 1) * width);  // [i, j]: of the first i and j words
  for (size_t i = 0; i < truth.size(); ++i) {
    for (size_t j = 0; j < answer.size(); ++j) {
      const uint32_t* above = &length[i * width + j];
      length[(i + 1) * width + j + 1] =
          truth[i] == answer[j] ? above[0] + 1 : std::max(above[1], length[(i + 1) * width + j]);
    }
  }
  for (size_t i = truth.size(), j = answer.size(); i > 0 && j > 0;) {
    if (truth[i - 1] == answer[j - 1]) {
      common.insert(truth[i - 1]);
      --i, --j;
    } else if (length[(i - 1) * width + j] > length[i * width + j - 1]) {
      --i;
    } else {
      --j;
    }
  }
}

// What the original hands to the same scorer.
std::string joined(const Words& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

double answer_f1(std::string_view answer, std::string_view truth) {
  return f1_of(english_words(answer), english_words(truth));
}

double chinese_answer_f1(std::string_view answer, std::string_view truth, const ChineseWords& words) {
  return f1_of(plain_words(answer, words), plain_words(truth, words));
}

double rouge_l(std::string_view answer, std::string_view truth) {
  const std::vector<Words> got = sentences_of(answer), want = sentences_of(truth);
  if (got.empty() || want.empty()) return 0;
  std::set<std::string_view> common;
  for (const Words& of_truth : want)
    for (const Words& of_answer : got) add_common(of_truth, of_answer, common);
  const auto num_common = static_cast<double>(common.size());
  const double precision = num_common / static_cast<double>(distinct_words(got).size());
  const double recall = num_common / static_cast<double>(distinct_words(want).size());
  return 2 * (precision * recall / (precision + recall + 1e-8));  // the original's guard against 0 / 0
}

double chinese_rouge_l(std::string_view answer, std::string_view truth, const ChineseWords& words) {
  return rouge_l(joined(words.cut(answer)), joined(words.cut(truth)));
}

double class_score(std::string_view answer, std::string_view truth, const std::vector<std::string>& classes) {
  std::vector<std::string_view> named;
  for (const std::string& name : classes)
    if (answer.find(name) != std::string_view::npos) named.emplace_back(name);
  // A part of the right name is in the answer only because the right name is. The original takes such names
  // out of the list it walks along, and so passes over what follows one.
  for (size_t i = 0; i < named.size(); ++i) {
    if (named[i] != truth && truth.find(named[i]) != std::string_view::npos)
      named.erase(std::find(named.begin(), named.end(), named[i]));
  }
  const bool is_right = std::find(named.begin(), named.end(), truth) != named.end();
  return is_right ? 1 / static_cast<double>(named.size()) : 0;
}

double number_share(std::string_view answer, std::string_view truth) {
  const auto numbers = matches_of(kDigits, answer);
  if (numbers.empty()) return 0;
  return static_cast<double>(std::count(numbers.begin(), numbers.end(), truth)) /
         static_cast<double>(numbers.size());
}

std::string_view number_after(std::string_view text, std::string_view word) {
  for (std::string_view number : matches_of(kDigits, text)) {
    const std::string_view before = text.substr(0, static_cast<size_t>(number.data() - text.data()));
    if (before.ends_with(word)) return number;
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
  if (line == truth) return 1;
  if (line.empty() || truth.empty()) return 0;
  return std::nearbyint(100 * block_likeness(line, truth)) / 100;  // half to even, as Python rounds
}

}  // namespace fathom
