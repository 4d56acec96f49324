// What the commands say: results on stdout, everything else on stderr. The only place that prints.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/progress.h"
#include "base/status.h"

namespace fathom {

// Prints "fathom: error: message" to stderr and returns the exit status 1.
int print_error(const Status& status);

// Writes text to stdout and flushes it.
void print_text(std::string_view text);

// Writes one JSON document and a line end to stdout.
void print_json(const Json& value);

// What a progress bar counts: bytes, with their rate, or plain steps.
enum class ProgressUnit { kBytes, kSteps };

// A progress bar with time left on stderr, drawn only if stderr is a terminal.
class ProgressBar : public ProgressSink {
 public:
  explicit ProgressBar(ProgressUnit unit = ProgressUnit::kBytes);
  ~ProgressBar() override;
  void report(std::string_view what, uint64_t done, uint64_t total) override;
  // Shown behind the amount from the next report on.
  void set_note(std::string note) { note_ = std::move(note); }

 private:
  ProgressUnit unit_;
  bool terminal_;
  bool drawn_ = false;
  std::string what_;
  std::string note_;
  double started_ = 0;
  double last_drawn_ = 0;
};

// "1.5 GiB", "640 KiB", "12 B".
std::string format_bytes(uint64_t bytes);

// "4096", "32k" (× 1024), "16G"; the error names the option and the text.
Result<uint64_t> parse_size(std::string_view text, std::string_view option);

}  // namespace fathom
