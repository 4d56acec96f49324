// The subjects of the examinations: names of files and of prompts.
#pragma once

#include <span>

namespace fathom {

struct SubjectName {
  const char* key;   // as in file names: "high_school_physics"
  const char* name;  // C-Eval, CMMLU: the subject in Chinese; MMLU: its group
};

std::span<const SubjectName> ceval_subjects();
std::span<const SubjectName> cmmlu_subjects();
std::span<const SubjectName> mmlu_subjects();

}  // namespace fathom
