// A conversation on standard input and output: lines are questions or commands, answers stream. Knows no
// engine and no server.
#pragma once

#include <string>

#include "cli/chat_partner.h"
#include "cli/line_reader.h"

namespace fathom {

struct ChatOptions {
  std::string system = {};  // the system message; empty for none
  bool stats = false;       // a line of statistics on stderr after every answer
  bool json = false;        // answers as JSON documents instead of text
};

class ChatSession {
 public:
  ChatSession(ChatPartner& partner, ChatOptions options);

  // Until /quit or the end of the input. Where a person types, an error is told and its question forgotten;
  // else it ends the conversation.
  Status converse();
  // One question.
  Status ask(const std::string& question);

 private:
  enum class Next { kGoOn, kLeave };
  Result<Next> take_line(const std::string& line);
  Result<Next> obey(const std::string& command, const std::string& argument);
  Status retry();
  Status save(const std::string& path) const;
  Status load(const std::string& path);
  Json all_messages() const;
  void drop_last_turn();

  ChatPartner& partner_;
  ChatOptions options_;
  Json messages_ = Json::array();  // without the system's
  LineReader lines_;
};

// What may be shown on a terminal: control characters other than tabs and line ends, which could move the
// cursor or answer for the user, are left out.
std::string without_controls(std::string_view text);

}  // namespace fathom
