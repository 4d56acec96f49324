// HTTP as the handlers see it: a request, a reply, and the two ends of a response under way. No sockets here.
// All of it lives on the I/O thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom {

struct HttpRequest {
  std::string method;
  std::string path;   // as sent, without the query
  std::string query;  // without the "?"
  bool keep_alive = true;
  bool http_1_0 = false;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::string id;      // the request's name in log and replies
  std::string client;  // address, for the log

  // The header's value, empty where it is absent. name in lower case.
  std::string_view header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
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
  // One piece. Never blocks: where a client is too slow for its buffer, the connection ends.
  virtual void write(std::string_view bytes) = 0;
  virtual void end_stream() = 0;
};

// A response that is not complete when its handler returns. The connection owns it and destroys it when it
// has ended or the client is gone; destroying it early abandons the work.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // What the request's log line says of it: " prompt_tokens=3 ...", or nothing.
  virtual std::string log_note() const { return {}; }
};

}  // namespace fathom
