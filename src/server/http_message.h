// HTTP as the handlers see it: a request, a reply, and the two ends of a response under way. No sockets here.
// All of it lives on the I/O thread.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom {

// Letters of ASCII in lower case, as names of header fields and hosts are compared.
inline std::string ascii_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// A part of a path as it is meant: "a%2Fb" -> "a/b". What is no escape stays.
std::string percent_decode(std::string_view text);

struct HttpRequest {
  std::string method;
  std::string path;   // as sent, without the query
  std::string query;  // without the "?"
  bool keep_alive = true;
  bool http_1_0 = false;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  // While it lives, the body counts as waiting to be parsed. It goes where the body goes, on any thread.
  std::shared_ptr<void> body_count;
  std::string id;      // the request's name in log and replies
  std::string client;  // address, for the log
  bool admin = false;  // came in at a management port

  // The header's value, empty where it is absent. name in lower case.
  std::string_view header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
  }

  // The value of a name in the query, undecoded: "" for a bare name, nothing for an absent one.
  std::optional<std::string_view> query_value(std::string_view name) const {
    for (std::string_view rest = query; !rest.empty();) {
      const std::string_view field = rest.substr(0, rest.find('&'));
      rest.remove_prefix(std::min(rest.size(), field.size() + 1));
      const size_t equals = field.find('=');
      if (field.substr(0, equals) == name)
        return equals == field.npos ? std::string_view() : field.substr(equals + 1);
    }
    return std::nullopt;
  }
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
};

// Where a handler's response goes. reply() and end_stream() end the response: nothing may follow.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  virtual void reply(HttpReply reply) = 0;
  // The head of a response that comes in pieces; its body is the first piece.
  virtual void begin_stream(HttpReply head) = 0;
  // One piece, to be sent with the next send_now() or end_stream(). Where a client is too slow for its
  // buffer, the connection ends.
  virtual void write(std::string_view bytes) = 0;
  // Never blocks: what the client does not take at once follows when it does.
  virtual void send_now() = 0;
  virtual void end_stream() = 0;
  // What was written last has been known since this time, in monotonic seconds: how long it takes to be sent
  // is measured.
  virtual void known_since(double time) = 0;
};

// A response that is not complete when its handler returns. The connection owns it and destroys it when it
// has ended or the client is gone; destroying it early abandons the work.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // What the request's log line says of it: " prompt_tokens=3 ...", or nothing.
  virtual std::string log_note() const { return {}; }
  // Ends the response with an error that says so. False: it is none that can be ended, or has ended.
  virtual bool abort() { return false; }
  // Something unforeseen has happened: ends the response, with a 500 where it has not begun.
  virtual void break_off(const std::string& /*cause*/) {}
};

}  // namespace fathom
