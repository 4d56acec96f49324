#include "evaluate/chinese_words.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/file.h"
#include "evaluate/plain_text.h"
#include "text/utf8.h"

namespace fathom {
namespace {

constexpr size_t kMaxDictFileBytes = size_t{64} << 20;
constexpr double kNever = -3.14e100;  // jieba's logarithm of 0
constexpr std::string_view kStateNames = "BEMS";
enum State : size_t { kBegin, kEnd, kMiddle, kSingle };
// The two states that can come before each.
constexpr std::array<std::array<State, 2>, 4> kBefore = {
    {{kEnd, kSingle}, {kBegin, kMiddle}, {kBegin, kMiddle}, {kEnd, kSingle}}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter_or_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// U+4E00 to U+9FD5, whose UTF-8 has three bytes and the order of its characters.
bool is_han(std::string_view character) {
  return character.size() == 3 && character >= "\u4E00" && character <= "\u9FD5";
}

bool is_in_block(std::string_view character) {
  if (character.size() > 1) return is_han(character);
  return is_letter_or_digit(character[0]) ||
         std::string_view("+#&._%-").find(character[0]) != std::string_view::npos;
}

std::string_view span_of(const std::vector<std::string_view>& characters, size_t first, size_t last) {
  const char* begin = characters[first].data();
  return {begin, static_cast<size_t>(characters[last].data() - begin) + characters[last].size()};
}

// A number with per cent sign, or letters and digits: the bytes of it that text begins with.
size_t western_size(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && is_letter_or_digit(text[end])) ++end;
  if (end == 0) return 0;
  if (end + 1 < text.size() && text[end] == '.' && is_digit(text[end + 1])) {
    ++end;
    while (end < text.size() && is_digit(text[end])) ++end;
  }
  return end + (end < text.size() && text[end] == '%' ? 1 : 0);
}

// What stands between quotes in a Python file: \uXXXX or the character itself.
std::string unquoted(std::string_view text) {
  unsigned code = 0;
  if (text.size() == 6 && text.starts_with("\\u") &&
      std::from_chars(text.data() + 2, text.data() + 6, code, 16).ptr == text.data() + 6) {
    std::string character;
    append_utf8(static_cast<char32_t>(code), character);
    return character;
  }
  return std::string(text);
}

struct Entry {
  std::string group;  // of a dict in the dict, or empty
  std::string key;
  double value = 0;
};

// The numbers of a Python dict literal of numbers, or of dicts of numbers.
Result<std::vector<Entry>> read_numbers(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxDictFileBytes));
  std::vector<Entry> entries;
  std::string group;
  // The first brace is the literal's: what precedes it, an import perhaps, is none of it.
  for (size_t at = text.find('{'); (at = text.find('\'', at)) != std::string::npos;) {
    const size_t end = text.find('\'', at + 1);
    const size_t value = end == std::string::npos ? end : text.find_first_not_of(": \n", end + 1);
    if (value == std::string::npos) return invalid_data("{}: ends in the middle of an entry", path);
    std::string key = unquoted(std::string_view(text).substr(at + 1, end - at - 1));
    at = value;
    if (text[value] == '{') {
      group = std::move(key);
      continue;
    }
    double number = 0;
    const auto parsed = std::from_chars(text.data() + value, text.data() + text.size(), number);
    if (parsed.ec != std::errc()) return invalid_data("{}: \"{}\" has no number", path, key);
    entries.push_back({group, std::move(key), number});
  }
  if (entries.empty()) return invalid_data("{}: no entry of the form 'B': -0.26", path);
  return entries;
}

Result<size_t> state_of(const std::string& path, const std::string& name) {
  const size_t state = name.size() == 1 ? kStateNames.find(name) : std::string_view::npos;
  if (state == std::string_view::npos) return invalid_data("{}: \"{}\" is none of B, E, M, S", path, name);
  return state;
}

}  // namespace

Result<ChineseWords> ChineseWords::load(const std::string& folder) {
  ChineseWords words;
  FATHOM_RETURN_IF_ERROR(words.read_dictionary(folder + "/dict.txt"));
  FATHOM_RETURN_IF_ERROR(words.read_model(folder + "/finalseg"));
  return words;
}

Status ChineseWords::read_dictionary(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxDictFileBytes));
  size_t number = 0;
  for (std::string_view line : split(text, "\n")) {
    ++number;
    if (strip(line).empty()) continue;
    const size_t space = line.find(' ');
    int64_t count = -1;
    if (space != std::string_view::npos)
      std::from_chars(line.data() + space + 1, line.data() + line.size(), count);
    if (space == 0 || count < 0) return invalid_data("{} line {}: not a word and its count", path, number);
    const std::string_view word = line.substr(0, space);
    counts_[std::string(word)] = count;
    total_ += count;
    size_t end = 0;
    for (std::string_view character : split_characters(word))
      counts_.try_emplace(std::string(word.substr(0, end += character.size())), 0);
  }
  if (total_ == 0) return invalid_data("{}: no word", path);
  return ok_status();
}

Status ChineseWords::read_model(const std::string& folder) {
  start_.fill(kNever);
  for (auto& row : next_) row.fill(kNever);
  const std::string start = folder + "/prob_start.py", next = folder + "/prob_trans.py",
                    emits = folder + "/prob_emit.py";
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Entry> starts, read_numbers(start));
  for (const Entry& one : starts) {
    FATHOM_ASSIGN_OR_RETURN(const size_t state, state_of(start, one.key));
    start_[state] = one.value;
  }
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Entry> steps, read_numbers(next));
  for (const Entry& one : steps) {
    FATHOM_ASSIGN_OR_RETURN(const size_t from, state_of(next, one.group));
    FATHOM_ASSIGN_OR_RETURN(const size_t to, state_of(next, one.key));
    next_[from][to] = one.value;
  }
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Entry> emitted, read_numbers(emits));
  for (const Entry& one : emitted) {
    FATHOM_ASSIGN_OR_RETURN(const size_t state, state_of(emits, one.group));
    emits_[state][one.key] = one.value;
  }
  return ok_status();
}

std::vector<std::string> ChineseWords::cut(std::string_view text) const {
  std::vector<std::string> words;
  Characters block;
  for (std::string_view character : split_characters(text)) {
    if (has_dictionary() && is_in_block(character)) {
      block.push_back(character);
      continue;
    }
    cut_block(block, words);
    block.clear();
    words.emplace_back(character);
  }
  cut_block(block, words);
  return words;
}

void ChineseWords::cut_block(const Characters& characters, std::vector<std::string>& words) const {
  if (characters.empty()) return;
  const std::vector<size_t> last = likeliest_path(characters);
  size_t run = 0;  // where words of one character begin that are still to be cut
  const auto end_run = [&](size_t end) {
    if (run < end) cut_unknown(span_of(characters, run, end - 1), words);
  };
  for (size_t i = 0; i < characters.size(); i = last[i] + 1) {
    if (last[i] == i) continue;
    end_run(i);
    words.emplace_back(span_of(characters, i, last[i]));
    run = last[i] + 1;
  }
  end_run(characters.size());
}

std::vector<size_t> ChineseWords::likeliest_path(const Characters& characters) const {
  const size_t n = characters.size();
  const double log_total = std::log(static_cast<double>(total_));
  std::vector<size_t> last(n);
  std::vector<double> score(n + 1);
  for (size_t i = n; i-- > 0;) {
    std::optional<double> best;
    const auto consider = [&](size_t end, int64_t count) {
      const double one =
          std::log(static_cast<double>(std::max<int64_t>(count, 1))) - log_total + score[end + 1];
      if (best && one < *best) return;  // of two alike the longer word
      best = one;
      last[i] = end;
    };
    for (size_t end = i; end < n; ++end) {
      const auto found = counts_.find(span_of(characters, i, end));
      if (found == counts_.end()) break;
      if (found->second > 0) consider(end, found->second);
    }
    if (!best) consider(i, 0);
    score[i] = *best;
  }
  return last;
}

void ChineseWords::cut_unknown(std::string_view run, std::vector<std::string>& words) const {
  const Characters characters = split_characters(run);
  const auto found = counts_.find(run);
  if (found != counts_.end() && found->second > 0) {  // a word that is less likely than its characters
    for (std::string_view character : characters) words.emplace_back(character);
    return;
  }
  if (characters.size() == 1) {
    words.emplace_back(run);
    return;
  }
  for (size_t i = 0; i < characters.size();) {
    size_t end = i;
    while (end < characters.size() && is_han(characters[end]) == is_han(characters[i])) ++end;
    if (is_han(characters[i])) {
      cut_by_model({characters.begin() + static_cast<std::ptrdiff_t>(i),
                    characters.begin() + static_cast<std::ptrdiff_t>(end)},
                   words);
    } else {
      std::string_view rest = span_of(characters, i, end - 1);
      while (!rest.empty()) {
        size_t size = western_size(rest);
        if (size == 0)
          while (size < rest.size() && !is_letter_or_digit(rest[size])) ++size;
        words.emplace_back(rest.substr(0, size));
        rest.remove_prefix(size);
      }
    }
    i = end;
  }
}

void ChineseWords::cut_by_model(const Characters& characters, std::vector<std::string>& words) const {
  const size_t n = characters.size();
  const auto emitted = [&](size_t state, size_t i) {
    const auto found = emits_[state].find(characters[i]);
    return found == emits_[state].end() ? kNever : found->second;
  };
  std::array<double, kStates> score{};
  std::vector<std::array<size_t, kStates>> before(n);
  for (size_t state = 0; state < kStates; ++state) score[state] = start_[state] + emitted(state, 0);
  for (size_t i = 1; i < n; ++i) {
    std::array<double, kStates> now{};
    for (size_t state = 0; state < kStates; ++state) {
      const double emit = emitted(state, i);
      const auto via = [&](State from) { return score[from] + next_[from][state] + emit; };
      const auto [first, second] = kBefore[state];  // of two alike the second
      before[i][state] = via(first) > via(second) ? first : second;
      now[state] = std::max(via(first), via(second));
    }
    score = now;
  }
  std::vector<size_t> states(n);
  states[n - 1] = score[kEnd] > score[kSingle] ? kEnd : kSingle;
  for (size_t i = n - 1; i > 0; --i) states[i - 1] = before[i][states[i]];
  size_t begin = 0;
  for (size_t i = 0; i < n; ++i) {
    if (states[i] == kBegin) begin = i;
    if (states[i] == kEnd) words.emplace_back(span_of(characters, begin, i));
    if (states[i] == kSingle) words.emplace_back(characters[i]);
  }
}

}  // namespace fathom
