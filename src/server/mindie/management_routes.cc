// The routes that tell of the service, of its health, and end it.
#include <algorithm>

#include "server/mindie/error.h"
#include "server/mindie/routes.h"

namespace fathom::mindie {
namespace {

constexpr int kMaxProbeSeconds = 600;
constexpr double kDefaultProbeSeconds = 60;

HttpReply json_reply(const Json& json) { return {.body = dump_json(json)}; }

HttpReply message_reply(int status, const char* message) {
  HttpReply reply = json_reply({{"message", message}});
  reply.status = status;
  return reply;
}

// The N of "/health/timed-N": nothing where it is none.
std::optional<int> seconds_of(std::string_view path) {
  const std::string_view digits = path.substr(path.rfind('-') + 1);
  constexpr size_t kMaxDigits = 3;
  if (digits.empty() || digits.size() > kMaxDigits) return std::nullopt;
  int seconds = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    seconds = seconds * 10 + (c - '0');
  }
  return seconds >= 1 && seconds <= kMaxProbeSeconds ? std::optional(seconds) : std::nullopt;
}

// A page elsewhere can make a browser send a GET; the browser then says so.
bool is_sent_by_page(const HttpRequest& request) {
  const std::string_view site = request.header("sec-fetch-site");
  return !request.header("origin").empty() || (!site.empty() && site != "none");
}

}  // namespace

ServiceLoad Routes::load() const {
  return {.waiting = services_.client.num_waiting(),
          .running = services_.client.num_sequences() - services_.client.num_waiting(),
          .statistics = services_.client.statistics()};
}

std::shared_ptr<Exchange> Routes::tell(ResponseWriter& writer,
                                       const std::function<Json(const ServedModel&)>& made) {
  const ServedModel* served = services_.model();
  if (served == nullptr) return refuse(writer, unavailable("the model is being loaded"));
  writer.reply(json_reply(made(*served)));
  return nullptr;
}

std::shared_ptr<Exchange> Routes::tell_of_model(
    HttpRequest& request, ResponseWriter& writer,
    const std::function<Json(const std::string&, const ServedModel&)>& made) {
  const std::string name = model_of(request.path);
  const ServedModel* served = services_.model();
  if (served != nullptr) {
    if (const auto error = served->check_name(name)) return refuse(writer, *error);
  }
  return tell(writer, [&](const ServedModel& loaded) { return made(name, loaded); });
}

std::shared_ptr<Exchange> Routes::info(HttpRequest&, ResponseWriter& writer) {
  return tell(writer,
              [this](const ServedModel& served) { return info_json(facts_, served, services_.limits); });
}

std::shared_ptr<Exchange> Routes::server(HttpRequest&, ResponseWriter& writer) {
  return tell(writer,
              [this](const ServedModel& served) { return server_json(facts_, served, services_.limits); });
}

std::shared_ptr<Exchange> Routes::config(HttpRequest&, ResponseWriter& writer) {
  return tell(writer,
              [this](const ServedModel& served) { return config_json(facts_, served, services_.limits); });
}

std::shared_ptr<Exchange> Routes::status(HttpRequest&, ResponseWriter& writer) {
  return tell(writer, [this](const ServedModel&) { return status_json(facts_, load()); });
}

std::shared_ptr<Exchange> Routes::metrics(HttpRequest&, ResponseWriter& writer) {
  const ServerMetrics& measured = services_.metrics;
  writer.reply(json_reply(metrics_json(facts_, load(), measured.recent_time_to_first_token() * 1e3,
                                       measured.recent_time_between_tokens() * 1e3)));
  return nullptr;
}

std::shared_ptr<Exchange> Routes::model(HttpRequest& request, ResponseWriter& writer) {
  return tell_of_model(request, writer,
                       [](const std::string& name, const ServedModel&) { return model_json(name); });
}

std::shared_ptr<Exchange> Routes::model_config(HttpRequest& request, ResponseWriter& writer) {
  return tell_of_model(request, writer, model_config_json);
}

std::shared_ptr<Exchange> Routes::slots(HttpRequest& request, ResponseWriter& writer) {
  return tell_of_model(request, writer,
                       [this](const std::string&, const ServedModel&) { return slots_json(facts_, load()); });
}

// Alive while nothing is broken: also while it loads, drains or is busy.
std::shared_ptr<Exchange> Routes::live(HttpRequest&, ResponseWriter& writer) {
  const EngineClient& client = services_.client;
  const bool broken = client.phase() == EnginePhase::kFailed || client.is_hung();
  writer.reply(broken ? message_reply(500, "Service is abnormal") : HttpReply());
  return nullptr;
}

std::shared_ptr<Exchange> Routes::ready(HttpRequest& request, ResponseWriter& writer) {
  const EngineClient& client = services_.client;
  if (client.phase() == EnginePhase::kFailed || client.is_hung()) return live(request, writer);
  HttpReply reply;
  if (client.phase() == EnginePhase::kLoading) reply = message_reply(503, "The model is being loaded");
  if (client.phase() == EnginePhase::kDraining) reply = message_reply(503, "The service has been stopped");
  if (client.phase() == EnginePhase::kReady && client.is_full())
    reply = message_reply(503, "Service is alive but busy. Consider reducing request frequency");
  writer.reply(std::move(reply));
  return nullptr;
}

std::shared_ptr<Exchange> Routes::model_ready(HttpRequest& request, ResponseWriter& writer) {
  const ServedModel* served = services_.model();
  if (served == nullptr) return ready(request, writer);
  if (const auto error = served->check_name(model_of(request.path))) return refuse(writer, *error);
  return ready(request, writer);
}

std::shared_ptr<Exchange> Routes::timed(HttpRequest& request, ResponseWriter& writer) {
  double seconds = kDefaultProbeSeconds;
  if (request.path != "/health/timed") {
    const auto given = seconds_of(request.path);
    if (!given) {
      return refuse(writer,
                    {.status = 404,
                     .message = fmt::format("the time in /health/timed-N must be from 1 to {} seconds",
                                            kMaxProbeSeconds)});
    }
    seconds = *given;
  }
  const ServedModel* served = services_.model();
  if (served == nullptr) return refuse(writer, unavailable("the model is being loaded"));
  return services_.probe.ask(served->probe_token(), seconds, [&writer](const ProbeResult& result) {
    const bool healthy = result.outcome == ProbeOutcome::kWorks || result.outcome == ProbeOutcome::kBusy;
    writer.reply(healthy ? json_reply({{"status", "healthy"}})
                         : refusal_reply({.status = 500, .message = result.message}));
  });
}

std::shared_ptr<Exchange> Routes::stop_service(HttpRequest& request, ResponseWriter& writer) {
  if (is_sent_by_page(request))
    return refuse(writer, {.status = 403, .message = "web pages may not stop the service"});
  const std::string_view mode = request.query_value("mode").value_or("");
  if (!mode.empty() && mode != "Force") return refuse(writer, bad_request("mode", "mode may only be Force"));
  if (services_.client.phase() == EnginePhase::kDraining)
    return refuse(writer, {.status = 500, .message = "the service is being stopped already"});
  if (services_.client.phase() != EnginePhase::kReady)
    return refuse(writer, unavailable("the model is being loaded"));
  if (mode == "Force") {
    writer.reply({});
    stop_(StopMode::kForce);
    return nullptr;
  }
  auto exchange = std::make_shared<StopExchange>(writer);
  stopping_ = exchange;
  stop_(StopMode::kDrain);
  return exchange;
}

void Routes::idle() {
  if (const auto waiting = stopping_.lock()) waiting->writer.reply({});
  stopping_.reset();
}

}  // namespace fathom::mindie
