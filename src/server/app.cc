#include "server/app.h"

#include <algorithm>

#include "base/log.h"
#include "server/anthropic/messages_reply.h"
#include "server/completion_exchange.h"
#include "server/log_text.h"
#include "server/mindie/error.h"
#include "server/page_route.h"
#include "server/pending_reply.h"
#include "server/request_fields.h"

namespace fathom {
namespace {

constexpr const char* kAbortPath = "/abort_requests";

std::variant<Json, ApiError> parse_body(const std::string& body, const ServerLimits& limits) {
  auto json = parse_json(body, "body",
                         {.max_bytes = limits.max_body_bytes,
                          .max_depth = limits.max_json_depth,
                          .max_object_keys = JsonLimits().max_object_keys});
  if (!json.ok()) return bad_request("", json.status().message());
  if (!json->is_object()) return bad_request("", "the body must be a JSON object");
  return std::move(json).value();
}

}  // namespace

const App::Route App::kRoutes[] = {
    {"POST", "/v1/chat/completions", Guard::kKey, &App::chat_completions},
    {"POST", "/v1/completions", Guard::kKey, &App::completions},
    {"POST", "/v1/responses", Guard::kKey, &App::responses},
    {"POST", "/v1/messages", Guard::kKey, &App::messages},
    {"POST", "/v1/messages/count_tokens", Guard::kKey, &App::count_tokens},
    {"GET", "/v1/models", Guard::kKey, &App::models},
    {"GET", "/v1/models/*", Guard::kKey, &App::one_model},
    {"POST", "/tokenize", Guard::kKey, &App::tokenize},
    {"POST", "/detokenize", Guard::kKey, &App::detokenize},
    {"GET", "/tokenizer_info", Guard::kKey, &App::tokenizer_info},
    {"POST", "/apply-template", Guard::kKey, &App::apply_template},
    {"GET", "/version", Guard::kKey, &App::version},
    {"GET", "/load", Guard::kKey, &App::load},
    {"GET", "/slots", Guard::kKey, &App::slots},
    {"POST", kAbortPath, Guard::kKey, &App::abort_requests},
    {"GET", "/metrics", Guard::kKey, &App::metrics},
    {"GET", "/ping", Guard::kOpen, &App::ping},
    {"GET", "/health/live", Guard::kOpen, &App::ping},
    {"GET", "/health", Guard::kOpen, &App::ready},
    {"GET", "/health/ready", Guard::kOpen, &App::ready},
    {"GET", "/health/deep", Guard::kKey, &App::deep_health},
    {"GET", "/v1/health", Guard::kOpen, &App::ready},
    {"POST", "/v1/embeddings", Guard::kKey, &App::not_offered},
    {"POST", "/rerank", Guard::kKey, &App::not_offered},
    {"POST", "/v1/rerank", Guard::kKey, &App::not_offered},
    {"POST", "/score", Guard::kKey, &App::not_offered},
    {"POST", "/v1/score", Guard::kKey, &App::not_offered},
};

App::App(AppOptions options, EngineClient& client, ServerMetrics& metrics, Post worker, Post io)
    : options_(std::move(options)),
      access_(options_.access),
      client_(client),
      metrics_(metrics),
      work_(std::move(worker), std::move(io)),
      probe_(client),
      mindie_({.client = client,
               .metrics = metrics,
               .probe = probe_,
               .limits = options_.limits,
               .model = [this] { return model_.get(); },
               .work = work_,
               .parse_body = [this](const std::string& body) { return parse_body(body, options_.limits); }},
              options_.facts, options_.stream_text) {}

bool App::matches(const Route& route, std::string_view path) {
  const std::string_view pattern = route.path;
  if (!pattern.ends_with("/*")) return path == pattern;
  const std::string_view stem = pattern.substr(0, pattern.size() - 1);
  return path.starts_with(stem) && path.size() > stem.size();
}

// allowed: the methods of a path that has others.
const App::Route* App::find_route(const std::string& method, std::string_view path, std::string& allowed) {
  for (const Route& route : kRoutes) {
    if (!matches(route, path)) continue;
    if (method == route.method || (method == "HEAD" && std::string_view(route.method) == "GET"))
      return &route;
    allowed += allowed.empty() ? route.method : std::string(", ") + route.method;
  }
  return nullptr;
}

HttpReply App::refusal(const HttpRequest& request, const ApiError& error) const {
  if (request.path.starts_with("/v1/messages")) return anthropic_error_reply(error, request.id);
  HttpReply reply = error_reply(error);
  std::string others;
  if (find_route(request.method, request.path, others) == nullptr &&
      mindie_.find(request.method, request.path, others) != nullptr)
    reply.body = dump_json(mindie::refusal_json(error));
  return reply;
}

std::shared_ptr<Exchange> App::handle(HttpRequest request, ResponseWriter& writer) {
  std::string id = request.id;
  std::shared_ptr<Exchange> exchange = dispatch(std::move(request), writer);
  if (exchange) under_way_.emplace(std::move(id), exchange);
  return exchange;
}

void App::tick(double now) {
  probe_.tick(now);
  std::erase_if(under_way_, [](const auto& entry) { return entry.second.expired(); });
}

std::shared_ptr<Exchange> App::dispatch(HttpRequest request, ResponseWriter& writer) {
  const auto refuse = [&](const ApiError& error) -> std::shared_ptr<Exchange> {
    writer.reply(refusal(request, error));
    return nullptr;
  };
  const std::string& method = request.method;
  const bool reads = method == "GET" || method == "HEAD";
  if (request.admin && !reads && request.path != kAbortPath)
    return refuse({.status = 404, .message = "the management port takes GET only", .code = "not_found"});
  if (!request.admin && request.path == kAbortPath)
    return refuse({.status = 404,
                   .message = request.path + " is at the management port (--admin-port)",
                   .code = "not_found"});
  if (const server::PageFile* file = find_page_file(request.path);
      file != nullptr && reads && !request.admin) {
    if (auto error = access_.check(request, Guard::kOpen)) return refuse(*error);
    writer.reply(page_reply(request, *file));
    return nullptr;
  }
  std::string allowed;
  const Route* route = find_route(method, request.path, allowed);
  if (route == nullptr) {
    if (const mindie::Routes::Route* other = mindie_.find(method, request.path, allowed)) {
      if (auto error = access_.check(request, other->guard)) return refuse(*error);
      return mindie_.call(*other, request, writer);
    }
  }
  // Deny by default: what has no route asks for the key too, save for what browsers ask before they send one.
  const Guard guard = route != nullptr ? route->guard : method == "OPTIONS" ? Guard::kOpen : Guard::kKey;
  if (auto error = access_.check(request, guard)) return refuse(*error);
  if (route != nullptr) return (this->*route->handler)(std::move(request), writer);
  if (method == "OPTIONS" && !allowed.empty()) {
    writer.reply(
        {.status = 204,
         .headers = {{"Access-Control-Allow-Methods", allowed},
                     {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-API-Key, X-Request-Id"},
                     {"Access-Control-Max-Age", "600"}}});
    return nullptr;
  }
  if (!allowed.empty()) {
    HttpReply reply = refusal(request, {.status = 405, .message = "this path takes " + allowed});
    reply.headers.emplace_back("Allow", allowed);
    writer.reply(std::move(reply));
    return nullptr;
  }
  return refuse({.status = 404, .message = "no such path", .code = "not_found"});
}

std::shared_ptr<Exchange> App::compute(HttpRequest request, ResponseWriter& writer, Compute compute) {
  if (!model_) {
    writer.reply(refusal(request, unavailable("the model is being loaded")));
    return nullptr;
  }
  auto exchange = std::make_shared<PendingReply>(writer);
  const size_t bytes = request.body.size();
  work_.run_sized(
      bytes, exchange,
      [this, &writer, compute = std::move(compute), request = std::move(request)]() -> std::function<void()> {
        auto json = parse_body(request.body, options_.limits);
        const auto* error = std::get_if<ApiError>(&json);
        HttpReply reply =
            error != nullptr ? refusal(request, *error) : compute(std::get<Json>(json), *model_);
        return [&writer, reply = std::move(reply)] { writer.reply(reply); };
      });
  return exchange;
}

void App::prepare(HttpRequest request, std::weak_ptr<Exchange> alive, Parse parse, Start start) {
  const size_t bytes = request.body.size();
  work_.run_sized(
      bytes, alive,
      [this, alive, parse = std::move(parse), start = std::move(start), request = std::move(request)] {
        auto json = parse_body(request.body, options_.limits);
        const auto* error = std::get_if<ApiError>(&json);
        const auto parsed = std::make_shared<Parsed>(error != nullptr ? Parsed(*error)
                                                                      : parse(std::get<Json>(json), *model_));
        if (const auto* completion = std::get_if<CompletionRequest>(parsed.get())) {
          log_unknown_fields(request.id, completion->unknown);
        }
        return [this, alive, start, parsed] { compile_constraint(parsed, alive, start); };
      });
}

void App::compile_constraint(std::shared_ptr<Parsed> parsed, std::weak_ptr<Exchange> alive, Start start) {
  auto* request = std::get_if<CompletionRequest>(parsed.get());
  if (request == nullptr || !request->constraint) return start(*parsed);
  const RequestedConstraint wanted = *request->constraint;
  if (constraints_) request->generation.constraint = constraints_->find(wanted.spec);
  if (request->generation.constraint) return start(*parsed);
  work_.run(alive, [this, start, wanted, parsed]() -> std::function<void()> {
    auto compiled = fathom::compile_constraint(wanted, constraints_.get());
    if (const auto* error = std::get_if<ApiError>(&compiled)) {
      *parsed = *error;
    } else {
      std::get<CompletionRequest>(*parsed).generation.constraint =
          std::get<ConstraintCache::Compiled>(std::move(compiled));
    }
    return [start, parsed] { start(*parsed); };
  });
}

std::shared_ptr<Exchange> App::complete(CompletionKind kind, HttpRequest request, ResponseWriter& writer) {
  if (!model_) {
    writer.reply(error_reply(unavailable("the model is being loaded")));
    return nullptr;
  }
  auto exchange = std::make_shared<CompletionExchange>(request.id, *model_, client_, work_, writer);
  prepare(
      std::move(request), exchange,
      [this, kind](const Json& body, const ServedModel& model) {
        return parse_completion(kind, body, model, options_.limits);
      },
      [target = exchange.get()](Parsed& parsed) { target->start(std::move(parsed)); });
  return exchange;
}

std::shared_ptr<Exchange> App::chat_completions(HttpRequest request, ResponseWriter& writer) {
  return complete(CompletionKind::kChat, std::move(request), writer);
}

std::shared_ptr<Exchange> App::completions(HttpRequest request, ResponseWriter& writer) {
  return complete(CompletionKind::kText, std::move(request), writer);
}

std::shared_ptr<Exchange> App::abort_requests(HttpRequest request, ResponseWriter& writer) {
  constexpr size_t kMaxIds = 128, kMaxIdBytes = 128;  // which fit a body of that size
  const auto refuse = [&](const ApiError& error) {
    writer.reply(error_reply(error));
    return nullptr;
  };
  if (request.body.size() > kInlineBodyBytes) {
    return refuse({.status = 413,
                   .message = fmt::format("the body has {} bytes, {} is the limit here", request.body.size(),
                                          kInlineBodyBytes)});
  }
  const auto json = parse_body(request.body, options_.limits);
  if (const auto* error = std::get_if<ApiError>(&json)) return refuse(*error);
  RequestFields fields(std::get<Json>(json));
  const std::vector<std::string> ids = fields.text_or_list("request_ids", kMaxIds, kMaxIdBytes);
  if (ids.empty()) fields.fail("request_ids", "must be a list of at least one request id");
  if (fields.error()) return refuse(*fields.error());
  int64_t num_aborted = 0;
  for (const std::string& id : ids) {
    const auto [begin, end] = under_way_.equal_range(id);
    for (auto it = begin; it != end; ++it) {
      const auto exchange = it->second.lock();
      if (exchange && exchange->abort()) ++num_aborted;
    }
  }
  writer.reply({.body = dump_json({{"aborted", num_aborted}})});
  return nullptr;
}

void App::record(const RequestRecord& record) {
  std::string allowed;
  const Route* route = find_route(record.method, record.path, allowed);
  const mindie::Routes::Route* other =
      route == nullptr ? mindie_.find(record.method, record.path, allowed) : nullptr;
  const char* path = route != nullptr ? route->path : other != nullptr ? other->path : nullptr;
  metrics_.http_request(path != nullptr ? path : "other", path != nullptr ? record.method : "other",
                        record.status, record.seconds);
  const bool is_open = (route != nullptr && route->guard == Guard::kOpen) ||
                       (other != nullptr && other->guard == Guard::kOpen);
  const bool quiet = is_open || (route != nullptr && route->handler == &App::metrics);
  if (quiet && record.status < 400) return;
  log_info("{} {} {} {} {} {:.1f} ms{}", for_log(record.client), for_log(record.method), for_log(record.path),
           record.status, record.id, record.seconds * 1e3, record.note);
}

}  // namespace fathom
