// What tests/end_to_end/longbench_package_test.py asks for scores: "score_program JIEBA_FOLDER" reads lines
// {"metric", "answer", "truth", "classes"} and writes a score a line; of metric "cut" the words, as JSON.
#include <cstdio>
#include <iostream>

#include "base/json.h"
#include "evaluate/chinese_words.h"
#include "evaluate/longbench_scores.h"

namespace fathom {
namespace {

double score(const std::string& metric, const std::string& answer, const std::string& truth,
             const std::vector<std::string>& classes, const ChineseWords& words) {
  if (metric == "f1") return answer_f1(answer, truth);
  if (metric == "f1_zh") return chinese_answer_f1(answer, truth, words);
  if (metric == "rouge") return rouge_l(answer, truth);
  if (metric == "rouge_zh") return chinese_rouge_l(answer, truth, words);
  if (metric == "class") return class_score(answer, truth, classes);
  if (metric == "number") return number_share(answer, truth);
  return code_likeness(answer, truth);
}

int run(const char* folder) {
  const Result<ChineseWords> words = ChineseWords::load(folder);
  if (!words.ok()) {
    std::fprintf(stderr, "%s\n", words.status().message().c_str());
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    const Json asked = Json::parse(line);
    const std::string metric = asked["metric"];
    if (metric == "cut") {
      std::printf("%s\n", dump_json(words->cut(asked["answer"].get<std::string>())).c_str());
    } else {
      std::printf("%.17g\n", score(metric, asked["answer"], asked["truth"], asked["classes"], *words));
    }
  }
  return 0;
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) { return argc == 2 ? fathom::run(argv[1]) : 2; }
