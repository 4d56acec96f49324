// The scorers of LongBench: how like a text is to one that is right, [0, 1]. Where the original cuts Chinese
// into words by a dictionary, characters are compared here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom {

enum class Script { kEnglish, kChinese };

// F1 of the words (characters) both have in common, without case, punctuation and English articles.
double answer_f1(std::string_view answer, std::string_view truth, Script script);
// F1 of the longest common subsequence of words (characters).
double rouge_l(std::string_view answer, std::string_view truth, Script script);
// 1 / (how many of the classes the answer names), 0 where the right one is not among them.
double class_score(std::string_view answer, std::string_view truth, const std::vector<std::string>& classes);
// Of the numbers in the answer, the share that equal truth; 0 without numbers.
double number_share(std::string_view answer, std::string_view truth);
// The first number behind a word: what "Paragraph 7" or "段落7" names; empty without one.
std::string_view number_after(std::string_view text, std::string_view word);
// The answer's first line that is no comment and no fence against the right one, by characters in common
// order, in whole per cent.
double code_likeness(std::string_view answer, std::string_view truth);

}  // namespace fathom
