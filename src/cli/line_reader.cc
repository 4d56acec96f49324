#include "cli/line_reader.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

#include "cli/interrupt.h"

namespace fathom {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

}  // namespace

LineEnd LineReader::read_one(const char* prompt, std::string& line) {
  if (::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1) std::fputs(prompt, stderr);
  while (true) {
    const size_t end = input_.find('\n');
    if (end != std::string::npos || (at_end_ && !input_.empty())) {
      line = input_.substr(0, end);
      input_.erase(0, end == std::string::npos ? end : end + 1);
      if (line.ends_with('\r')) line.pop_back();
      return LineEnd::kLine;
    }
    if (at_end_) return LineEnd::kEndOfInput;
    char buffer[4096];
    const ssize_t count = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR && !interrupted()) continue;
    if (count < 0 && errno == EINTR) {
      clear_interrupt();
      input_.clear();
      return LineEnd::kInterrupted;
    }
    if (count <= 0) at_end_ = true;
    if (count > 0) input_.append(buffer, static_cast<size_t>(count));
  }
}

LineEnd LineReader::read(const char* prompt, std::string& text) {
  LineEnd end = read_one(prompt, text);
  if (end != LineEnd::kLine || !text.starts_with(kQuotes)) return end;
  text.erase(0, kQuotes.size());
  std::string line;
  while (!text.ends_with(kQuotes)) {
    end = read_one(". ", line);
    if (end != LineEnd::kLine) return end;
    text += '\n' + line;
  }
  text.resize(text.size() - kQuotes.size());
  return LineEnd::kLine;
}

}  // namespace fathom
