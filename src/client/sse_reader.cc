#include "client/sse_reader.h"

#include <algorithm>

namespace fathom {

Status SseReader::feed(std::string_view bytes) {
  input_.erase(0, begin_);
  searched_ -= begin_;
  begin_ = 0;
  input_ += bytes;
  if (input_.size() + data_.size() > max_event_bytes_ + bytes.size()) {
    return invalid_data("an event of the stream is over the limit of {} bytes", max_event_bytes_);
  }
  return ok_status();
}

// Lines end with CR LF, LF or CR; a CR ends its line before it is known whether a LF follows.
bool SseReader::take_line(std::string_view& line) {
  if (after_return_ && begin_ < input_.size()) {
    if (input_[begin_] == '\n') ++begin_;
    after_return_ = false;
  }
  const size_t end = input_.find_first_of("\r\n", std::max(begin_, searched_));
  if (end == std::string::npos) {
    searched_ = input_.size();
    return false;
  }
  line = std::string_view(input_).substr(begin_, end - begin_);
  after_return_ = input_[end] == '\r';
  begin_ = searched_ = end + 1;
  return true;
}

std::optional<std::string> SseReader::next() {
  std::string_view line;
  while (take_line(line)) {
    if (at_start_ && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    at_start_ = false;
    if (line.empty()) {
      if (!std::exchange(has_data_, false)) continue;
      return std::exchange(data_, {});
    }
    const size_t colon = line.find(':');
    if (line.substr(0, colon) != "data") continue;
    std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  }
  return std::nullopt;
}

}  // namespace fathom
