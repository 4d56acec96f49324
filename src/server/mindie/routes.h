// The paths of MindIE Service beside OpenAI's: TGI, vLLM, Triton, its own, and its management. I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/access.h"
#include "server/health_probe.h"
#include "server/mindie/answer_exchange.h"
#include "server/mindie/information.h"
#include "server/work_queue.h"

namespace fathom::mindie {

// What the routes use of the server.
struct Services {
  EngineClient& client;
  const ServerMetrics& metrics;
  HealthProbe& probe;
  const ServerLimits& limits;
  std::function<const ServedModel*()> model;  // null while it loads
  WorkQueue& work;
  std::function<std::variant<Json, ApiError>(const std::string& body)> parse_body;
};

// The name in "/v2/models/NAME..", which the path must begin with.
std::string model_of(std::string_view path);

class Routes {
 public:
  using Handler = std::shared_ptr<Exchange> (Routes::*)(HttpRequest&, ResponseWriter&);
  struct Route {
    const char* method;
    const char* path;  // a segment "*" is any one, "x*" any that begins so
    Guard guard;
    Handler handler;
    bool admin_only = false;
    bool has_effect = false;  // of a GET: a HEAD, which clients take for harmless, is refused
  };

  Routes(Services services, ServiceFacts facts, AnswerExchange::Text text)
      : services_(std::move(services)), facts_(std::move(facts)), text_(text) {}

  // Null where there is none; allowed gets the methods of a path that has others.
  const Route* find(std::string_view method, std::string_view path, std::string& allowed) const;
  std::shared_ptr<Exchange> call(const Route& route, HttpRequest& request, ResponseWriter& writer);

  enum class StopMode { kDrain, kForce };
  // How the service is stopped; may call idle().
  void on_stop(std::function<void(StopMode)> stop) { stop_ = std::move(stop); }
  // No answer is under way any more: who asked for a stop gets the reply.
  void idle();

 private:
  static const Route kRoutes[];
  using Parse = std::function<Parsed(const Json& body, const Context& context)>;
  std::shared_ptr<Exchange> answer(HttpRequest& request, ResponseWriter& writer, Parse parse);
  std::shared_ptr<Exchange> answer_of_model(HttpRequest& request, ResponseWriter& writer, Parse parse);
  std::shared_ptr<Exchange> compute(HttpRequest& request, ResponseWriter& writer,
                                    std::function<HttpReply(const Json&, const ServedModel&)> compute);
  // Replies with the JSON that made makes of the model.
  std::shared_ptr<Exchange> tell(ResponseWriter& writer, const std::function<Json(const ServedModel&)>& made);
  std::shared_ptr<Exchange> tell_of_model(
      HttpRequest& request, ResponseWriter& writer,
      const std::function<Json(const std::string&, const ServedModel&)>& made);
  std::shared_ptr<Exchange> refuse(ResponseWriter& writer, const ApiError& error) const;
  ServiceLoad load() const;

  std::shared_ptr<Exchange> tgi_root(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> generate(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> tgi_stream(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> infer(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> triton_generate(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> triton_stream(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> triton_infer(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> stop_infer(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> count_tokens(HttpRequest& request, ResponseWriter& writer);

  std::shared_ptr<Exchange> info(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> server(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> model(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> model_config(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> slots(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> config(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> status(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> metrics(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> live(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> ready(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> model_ready(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> timed(HttpRequest& request, ResponseWriter& writer);
  std::shared_ptr<Exchange> stop_service(HttpRequest& request, ResponseWriter& writer);

  Services services_;
  ServiceFacts facts_;
  AnswerExchange::Text text_;
  RunningAnswers running_;
  std::function<void(StopMode)> stop_;
  // Who waits for the end of the service.
  struct StopExchange : Exchange {
    explicit StopExchange(ResponseWriter& its_writer) : writer(its_writer) {}
    ResponseWriter& writer;
  };
  std::weak_ptr<StopExchange> stopping_;
};

}  // namespace fathom::mindie
