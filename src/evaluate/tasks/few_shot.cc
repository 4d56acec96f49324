#include "evaluate/tasks/few_shot.h"

#include <fmt/format.h>

#include "evaluate/plain_text.h"

namespace fathom {

std::string as_text(const FewShotPrompt& prompt) {
  std::string text = prompt.header;
  for (const auto& shot : prompt.shots)
    text += fmt::format("{}{}{}\n\n", shot.question, prompt.gap, shot.answer);
  return text + prompt.question;
}

std::vector<ChatTurn> as_turns(const FewShotPrompt& prompt) {
  if (prompt.shots.empty()) return {};
  std::vector<ChatTurn> turns = {{"system", std::string(strip_end(prompt.header))}};
  for (const auto& shot : prompt.shots) {
    turns.push_back({"user", shot.question});
    turns.push_back({"assistant", shot.answer});
  }
  turns.push_back({"user", prompt.question});
  return turns;
}

}  // namespace fathom
