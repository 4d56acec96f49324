// Server-sent events out of a stream of bytes, wherever it is cut (WHATWG HTML, section 9.2.6). Names, ids
// and retry times of events are dropped: interfaces like OpenAI's use the data alone.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom {

class SseReader {
 public:
  explicit SseReader(size_t max_event_bytes = size_t{16} << 20) : max_event_bytes_(max_event_bytes) {}

  // Takes over more bytes. Fails, from then on always, where an event is over the limit.
  Status feed(std::string_view bytes);
  // The data of the next whole event. An event without data is none; so is what an end of the stream cuts
  // off.
  std::optional<std::string> next();

 private:
  bool take_line(std::string_view& line);

  size_t max_event_bytes_;
  std::string input_;
  size_t begin_ = 0;     // of what is not taken yet
  size_t searched_ = 0;  // no line end in [begin_, searched_)
  std::string data_;
  bool has_data_ = false;
  bool at_start_ = true;
  bool after_return_ = false;  // a line feed that comes next belongs to the line end before it
};

}  // namespace fathom
