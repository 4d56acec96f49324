// HTTP/1.1 to one server, over TCP, TLS or a Unix socket: any number of calls at once on the caller's thread,
// connections kept for the next call, event streams handed over as they come. No redirects, no proxies, no
// compression. Not the meaning of what is sent: client/openai_api.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "client/url.h"

namespace fathom {

enum class TlsCheck { kVerify, kSkip };

struct HttpClientOptions {
  Url url;
  std::string api_key;  // sent as a bearer token, shown nowhere; empty for none
  std::string ca_file;  // PEM of the authorities to trust; empty for the system's
  TlsCheck tls_check = TlsCheck::kVerify;
  double connect_timeout = 10;   // seconds, TLS included
  double silence_timeout = 600;  // seconds in which the server sends nothing
  size_t max_body_bytes = size_t{256} << 20;
};

struct HttpCall {
  std::string method = "POST";
  std::string path;       // from "/v1/.." on
  std::string body = {};  // JSON
};

struct ClientReply {
  Status status;  // not ok: there was no reply, or it broke off; the message names the server
  int code = 0;   // 0: no head arrived
  std::string content_type = {};
  std::optional<double> retry_after = std::nullopt;  // seconds
  std::string body = {};                             // of replies that are no event streams
  bool is_event_stream = false;
};

// All members on one thread. Callbacks come inside of run() and may start further calls.
class HttpClient {
 public:
  using EventSink = std::function<void(std::string_view data)>;
  using ReplySink = std::function<void(ClientReply reply)>;

  // Finds the host's addresses, reads certificates; connects only when there is a call.
  static Result<std::unique_ptr<HttpClient>> create(HttpClientOptions options);
  ~HttpClient();

  const Url& url() const;
  // on_event gets the data of each event of a reply with status 200 that is an event stream; on_end always
  // comes, once, last.
  void start(HttpCall call, EventSink on_event, ReplySink on_end);
  // Calls task at a time of monotonic_seconds().
  void at(double when, std::function<void()> task);
  // Until no call and no task is left.
  void run();
  // The same, but at most about that long. False: nothing is left.
  bool run_for(double seconds);
  // Ends all calls with kCancelled, inside of the run that follows, and forgets tasks.
  void cancel_all();
  // One call, waited for.
  ClientReply call(HttpCall call);

 private:
  struct Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fathom
