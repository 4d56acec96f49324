// The scorers of LongBench, as its metrics.py has them with the packages rouge 1.0 and fuzzywuzzy 0.18: how
// like a text is to one that is right, [0, 1]. What Chinese words are says evaluate/chinese_words.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "evaluate/chinese_words.h"

namespace fathom {

// F1 of the words both have in common, without case, punctuation and English articles.
double answer_f1(std::string_view answer, std::string_view truth);
double chinese_answer_f1(std::string_view answer, std::string_view truth, const ChineseWords& words);
// F1 of the distinct words of longest common subsequences, each sentence of one with each of the other; a
// full stop ends a sentence.
double rouge_l(std::string_view answer, std::string_view truth);
double chinese_rouge_l(std::string_view answer, std::string_view truth, const ChineseWords& words);
// 1 / (how many of the classes the answer names), 0 where the right one is not among them.
double class_score(std::string_view answer, std::string_view truth, const std::vector<std::string>& classes);
// Of the numbers in the answer, the share that equal truth; 0 without numbers.
double number_share(std::string_view answer, std::string_view truth);
// The first number behind a word: what "Paragraph 7" or "段落7" names; empty without one.
std::string_view number_after(std::string_view text, std::string_view word);
// The answer's first line that is no comment and no fence against the right one, in whole per cent.
double code_likeness(std::string_view answer, std::string_view truth);

}  // namespace fathom
