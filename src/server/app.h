// What the server answers to which path: checks access, finds the route, replies or starts an exchange. I/O
// thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "server/access.h"
#include "server/constraint_cache.h"
#include "server/engine_client.h"
#include "server/http_message.h"
#include "server/limits.h"
#include "server/mindie/routes.h"
#include "server/openai.h"
#include "server/served_model.h"
#include "server/server_metrics.h"
#include "server/work_queue.h"

namespace fathom {

struct AppOptions {
  AccessOptions access;
  ServerLimits limits;
  std::string metrics_prefix = "fathom";
  std::string version;
  mindie::ServiceFacts facts;
  mindie::AnswerExchange::Text stream_text = mindie::AnswerExchange::Text::kNew;  // of MindIE's protocols
};

// How a request ended, for log and metrics.
struct RequestRecord {
  std::string method = {}, path = {}, id = {}, client = {};
  int status = 0;  // 499: the client left before its reply was complete
  double seconds = 0;
  std::string note = {};  // Exchange::log_note
};

class App {
 public:
  // client and metrics must outlive the app. worker runs tasks on another thread, io on this one.
  App(AppOptions options, EngineClient& client, ServerMetrics& metrics, Post worker, Post io);

  std::vector<std::pair<std::string, std::string>> cors_headers(const HttpRequest& request) const {
    return access_.cors_headers(request);
  }
  // constraints: null where the model has no tokenizer.
  void set_model(std::unique_ptr<ServedModel> model, std::unique_ptr<ConstraintCache> constraints) {
    model_ = std::move(model);
    constraints_ = std::move(constraints);
  }

  // An error before the request has met its handler, in the form of the path's protocol.
  HttpReply refusal(const HttpRequest& request, const ApiError& error) const;
  // Replies through the writer, now or later; the exchange, where there is one, is for the caller to keep
  // until then.
  std::shared_ptr<Exchange> handle(HttpRequest request, ResponseWriter& writer);
  void record(const RequestRecord& record);
  // How a client stops the service.
  void on_stop(std::function<void(mindie::Routes::StopMode)> stop) { mindie_.on_stop(std::move(stop)); }
  // No answer is under way any more.
  void idle() { mindie_.idle(); }
  void tick(double now);

 private:
  using Handler = std::shared_ptr<Exchange> (App::*)(HttpRequest, ResponseWriter&);
  struct Route {
    const char* method;
    const char* path;  // ends in "/*": every path below
    Guard guard;
    Handler handler;
  };
  static const Route kRoutes[];
  static bool matches(const Route& route, std::string_view path);
  static const Route* find_route(const std::string& method, std::string_view path, std::string& allowed);

  std::shared_ptr<Exchange> dispatch(HttpRequest request, ResponseWriter& writer);

  // A reply computed from the body, away from the I/O thread where the body is large.
  using Compute = std::function<HttpReply(const Json& body, const ServedModel& model)>;
  std::shared_ptr<Exchange> compute(HttpRequest request, ResponseWriter& writer, Compute compute);
  // A request for an answer: its body parsed, its constraint compiled, then handed over on this thread. Work
  // that takes time is done on the worker.
  using Parsed = std::variant<CompletionRequest, ApiError>;
  using Parse = std::function<Parsed(const Json& body, const ServedModel& model)>;
  using Start = std::function<void(Parsed&)>;  // may take it
  void prepare(HttpRequest request, std::weak_ptr<Exchange> alive, Parse parse, Start start);
  void compile_constraint(std::shared_ptr<Parsed> parsed, std::weak_ptr<Exchange> alive, Start start);

  std::shared_ptr<Exchange> complete(CompletionKind kind, HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> chat_completions(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> completions(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> messages(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> count_tokens(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> responses(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> models(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> one_model(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> tokenize(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> detokenize(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> tokenizer_info(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> apply_template(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> version(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> ping(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> ready(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> deep_health(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> load(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> slots(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> abort_requests(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> metrics(HttpRequest request, ResponseWriter& writer);
  std::shared_ptr<Exchange> not_offered(HttpRequest request, ResponseWriter& writer);

  AppOptions options_;
  AccessControl access_;
  EngineClient& client_;
  ServerMetrics& metrics_;
  WorkQueue work_;
  std::unique_ptr<ServedModel> model_;  // null while it loads
  std::unique_ptr<ConstraintCache> constraints_;
  HealthProbe probe_;
  std::unordered_multimap<std::string, std::weak_ptr<Exchange>> under_way_;  // by request id; I/O thread
  mindie::Routes mindie_;
};

}  // namespace fathom
