// A question behind examples with their answers, as one text or as turns of a conversation.
#pragma once

#include <string>
#include <vector>

#include "evaluate/scorer.h"

namespace fathom {

struct FewShotPrompt {
  struct Shot {
    std::string question;
    std::string answer;
  };

  std::string header;  // with what parts it from the first example
  std::vector<Shot> shots = {};
  std::string question;
  std::string gap;  // between a question and its answer, in one text
};

std::string as_text(const FewShotPrompt& prompt);
// The header as the system's turn, each example as a user's and the assistant's, the question as a user's.
// Empty without examples: such a prompt is one turn.
std::vector<ChatTurn> as_turns(const FewShotPrompt& prompt);

}  // namespace fathom
