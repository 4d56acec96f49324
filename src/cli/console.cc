#include "cli/console.h"

#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "base/checked_math.h"
#include "base/clock.h"

namespace fathom {

int print_error(const Status& status) {
  std::string line = status.message();
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  std::fprintf(stderr, "fathom: error: %s\n", line.c_str());
  return 1;
}

void print_text(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_json(const Json& value) { print_text(dump_json(value, 2) + "\n"); }

ProgressBar::ProgressBar(ProgressUnit unit) : unit_(unit), terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void ProgressBar::report(std::string_view what, uint64_t done, uint64_t total) {
  if (!terminal_ || total == 0) return;
  const double now = monotonic_seconds();
  if (what != what_) {
    what_ = std::string(what);
    started_ = now;
    last_drawn_ = 0;
  }
  if (done < total && now - last_drawn_ < 0.1) return;
  last_drawn_ = now;
  drawn_ = true;
  constexpr int kWidth = 30;
  const double share = static_cast<double>(done) / static_cast<double>(total);
  const int filled = static_cast<int>(share * kWidth);
  const double rate = now > started_ ? static_cast<double>(done) / (now - started_) : 0;
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
  const std::string bar =
      std::string(static_cast<size_t>(filled), '#') + std::string(static_cast<size_t>(kWidth - filled), '.');
  std::string amount = unit_ == ProgressUnit::kSteps
                           ? fmt::format("{} of {}", done, total)
                           : fmt::format("{} of {}, {}/s", format_bytes(done), format_bytes(total),
                                         format_bytes(static_cast<uint64_t>(rate)));
  if (!note_.empty()) amount += ", " + note_;
  const std::string line =
      fmt::format("\r\033[K{} [{}] {:3.0f}% {}, {:.0f} s left", what_, bar, share * 100, amount, left);
  std::fputs(line.c_str(), stderr);
}

std::string format_bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

Result<uint64_t> parse_size(std::string_view text, std::string_view option) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  uint64_t unit = 0;
  if (suffix.empty()) unit = 1;
  if (suffix == "k" || suffix == "K") unit = uint64_t{1} << 10;
  if (suffix == "m" || suffix == "M") unit = uint64_t{1} << 20;
  if (suffix == "g" || suffix == "G") unit = uint64_t{1} << 30;
  if (suffix == "t" || suffix == "T") unit = uint64_t{1} << 40;
  const auto product = checked_mul(number, unit);
  if (error != std::errc() || unit == 0 || !product) {
    return invalid_argument("{}: \"{}\" is not a size (examples: 4096, 32k, 16G)", option, text);
  }
  return *product;
}

}  // namespace fathom
