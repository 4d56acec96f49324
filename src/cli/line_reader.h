// Lines of standard input as a person types them: Ctrl-C gives up the line, and three quotes at the beginning
// of a line open a text of several lines, which three quotes at the end of one close.
#pragma once

#include <string>

namespace fathom {

enum class LineEnd { kLine, kInterrupted, kEndOfInput };

class LineReader {
 public:
  // Shows prompt on stderr where that and standard input are terminals. A last line without an end counts.
  LineEnd read(const char* prompt, std::string& text);

 private:
  LineEnd read_one(const char* prompt, std::string& line);

  std::string input_;
  bool at_end_ = false;
};

}  // namespace fathom
