// Server-sent events as clients of OpenAI's interface read them: one "data:" line of JSON an event.
#pragma once

#include <string>
#include <string_view>

namespace fathom {

inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";
// A comment: keeps proxies from giving up on a silent stream.
inline constexpr std::string_view kSsePing = ": ping\n\n";

// json has no line end in it, which dump_json on one line guarantees.
inline std::string sse_event(std::string_view json) {
  std::string event;
  event.reserve(json.size() + 8);
  event += "data: ";
  event += json;
  event += "\n\n";
  return event;
}

// An event with a name, as the protocols of "responses" and "messages" have them.
inline std::string sse_event(std::string_view name, std::string_view json) {
  return "event: " + std::string(name) + "\n" + sse_event(json);
}

}  // namespace fathom
