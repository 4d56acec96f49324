#include "evaluate/answer_extraction.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "evaluate/plain_text.h"

namespace fathom {
namespace {

constexpr std::string_view kOptionLetters = "ABCD";

// @ stands for a letter.
constexpr const char* kPhrases[] = {
    "答案是?\\s?@",
    "答案是?\\s?：@",
    "答案是?\\s?:@",
    "答案应该?是\\s?@",
    "答案应该?选\\s?@",
    "答案为\\s?@",
    "答案选\\s?@",
    "选择?\\s?@",
    "故选?\\s?@",
    "只有选?项?\\s?@\\s?是?对",
    "只有选?项?\\s?@\\s?是?错",
    "只有选?项?\\s?@\\s?不?正确",
    "只有选?项?\\s?@\\s?错误",
    "说法不?对选?项?的?是\\s?@",
    "说法不?正确选?项?的?是\\s?@",
    "说法错误选?项?的?是\\s?@",
    "@\\s?是正确的",
    "@\\s?是正确答案",
    "选项\\s?@\\s?正确",
    "所以答\\s?@",
    "所以\\s?@[.。$]?$",
    "所有\\s?@[.。$]?$",
    "[\\s，：:,]@[。，,.]?$",
    "[\\s，,：:][故即]@[。.]?$",
    "[\\s，,：:]因此@[。.]?$",
    "[是为。]\\s?@[。.]?$",
    "因此\\s?@[。.]?$",
    "显然\\s?@[。.]?$",
    "答案是\\s?\\S+(?:。|$)",
    "答案应该是\\s?\\S+(?:。|$)",
    "答案为\\s?\\S+(?:。|$)",
    "[Tt]he answer is \\(?@\\)?",
    "[Tt]he answer is option \\(?@\\)?",
    "[Tt]he correct answer is \\(?@\\)?",
    "[Tt]he correct answer is option \\(?@\\)?",
    "[Tt]he answer to the question is \\(?@\\)?",
    "^选项\\s?@",
    "^@\\s?选?项",
    "(?:\\s|^)@[\\s。，,：:.$]",
    "(?:\\s|^)@(?:\\s|$)",
    "1.\\s?.*?$",
    "1.\\s?@[.。$]?$",
    "@:",
    "@",
};

// ^ and $ mean the text's ends, as in Python.
Result<Regex> compile(const std::string& pattern) { return Regex::compile_native("(?-m)" + pattern); }

// A search that goes over the limits of work finds nothing.
std::optional<std::string_view> search(const Regex& regex, std::string_view text, size_t from = 0) {
  RegexScratch scratch;
  const Result<Regex::Match> match = regex.find(text, from, scratch);
  if (!match.ok() || !match->found) return std::nullopt;
  return text.substr(match->begin, match->end - match->begin);
}

std::optional<std::string> last_match(const Regex& regex, std::string_view text) {
  std::optional<std::string> last;
  for (size_t from = 0; from <= text.size();) {
    const auto match = search(regex, text, from);
    if (!match) break;
    if (!match->empty()) last = *match;
    from = static_cast<size_t>(match->data() - text.data()) + std::max(match->size(), size_t{1});
  }
  return last;
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

std::string_view first_character(std::string_view text) {
  const std::string_view stripped = strip(text);
  return stripped.empty() ? stripped : split_characters(stripped)[0];
}

Result<LetterExtractor> LetterExtractor::create() {
  std::vector<Regex> phrases;
  for (const char* phrase : kPhrases) {
    FATHOM_ASSIGN_OR_RETURN(Regex regex, compile(replace_all(phrase, "@", "[ABCD]")));
    phrases.push_back(std::move(regex));
  }
  return LetterExtractor(std::move(phrases));
}

std::string LetterExtractor::extract(std::string_view text) const {
  for (const Regex& phrase : phrases_) {
    const auto match = search(phrase, text);
    if (!match) continue;
    // Of several letters in one match the first of the alphabet counts.
    for (char letter : kOptionLetters) {
      if (match->find(letter) != std::string_view::npos) return std::string(1, letter);
    }
  }
  return "";
}

Result<NumberExtractor> NumberExtractor::create() {
  FATHOM_ASSIGN_OR_RETURN(Regex mark, compile("#### -?[0-9.,]+"));
  FATHOM_ASSIGN_OR_RETURN(Regex loose, compile("-?[$0-9.,]{2,}|-?[0-9]+"));
  FATHOM_ASSIGN_OR_RETURN(
      Regex plain,
      compile("[+-]?(?=[0-9]|\\.[0-9])(?:0|[1-9](?:[0-9]{0,2}(?:,[0-9]{3})*)|[0-9]*)?(?:\\.[0-9]*)?"
              "(?=[^0-9]|$)"));
  return NumberExtractor(std::move(mark), std::move(loose), std::move(plain));
}

std::optional<std::string> NumberExtractor::after_mark(std::string_view text) const {
  const auto match = search(mark_, text);
  if (!match) return std::nullopt;
  return std::string(match->substr(std::string_view("#### ").size()));
}

std::optional<std::string> NumberExtractor::last(std::string_view text) const {
  return last_match(loose_, text);
}

std::optional<std::string> NumberExtractor::last_plain(std::string_view text) const {
  const auto match = last_match(plain_, text);
  if (!match) return std::nullopt;
  return replace_all(replace_all(*match, ",", ""), "+", "");
}

std::string comparable_number(std::string_view text) {
  std::string number = replace_all(replace_all(std::string(text), ",", ""), "$", "");
  if (const size_t mark = number.rfind("#### "); mark != std::string::npos) number.erase(0, mark + 5);
  if (number.ends_with('.')) number.pop_back();
  for (char& c : number) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return number;
}

bool numbers_close(std::string_view a, std::string_view b) {
  const auto left = parse_number(a), right = parse_number(b);
  // The slack is what decimals near 1e-4 lose as doubles.
  return left && right && std::abs(*left - *right) <= 1e-4 * (1 + 1e-9);
}

std::string function_body(std::string_view text) {
  static constexpr std::string_view kEnds[] = {"\ndef",    "\nclass", "\n#",  "\nassert",
                                               "\n\"\"\"", "\nprint", "\nif", "\n\n\n"};
  std::vector<std::string_view> kept;
  for (std::string_view line : split(text, "\n")) {
    if (!strip(line).empty() && line[0] != ' ' && line[0] != '\t')
      return fmt::format("{}", fmt::join(kept, "\n"));
    kept.push_back(line);
  }
  for (std::string_view end : kEnds) text = text.substr(0, text.rfind(end));
  return std::string(text);
}

}  // namespace fathom
