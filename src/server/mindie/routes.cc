#include "server/mindie/routes.h"

#include "server/log_text.h"
#include "server/mindie/error.h"
#include "server/mindie/protocols.h"
#include "server/pending_reply.h"
#include "server/request_fields.h"
#include "text/utf8.h"

namespace fathom::mindie {
namespace {

constexpr std::string_view kModels = "/v2/models/";
constexpr std::string_view kVersion = "/versions/1";  // the only one; clients need not name it

// Without the version behind a model's name.
std::string plain_path(std::string_view path) {
  std::string plain(path);
  if (!path.starts_with(kModels)) return plain;
  const size_t name_end = path.find('/', kModels.size());
  if (name_end == path.npos || path.substr(name_end, kVersion.size()) != kVersion) return plain;
  const size_t version_end = name_end + kVersion.size();
  if (version_end < path.size() && path[version_end] != '/') return plain;
  return plain.erase(name_end, kVersion.size());
}

bool segment_matches(std::string_view pattern, std::string_view segment) {
  if (!pattern.ends_with('*')) return pattern == segment;
  pattern.remove_suffix(1);
  return segment.size() > pattern.size() && segment.starts_with(pattern);
}

bool matches(std::string_view pattern, std::string_view path) {
  while (!pattern.empty() && !path.empty()) {
    const size_t pattern_end = std::min(pattern.find('/', 1), pattern.size());
    const size_t path_end = std::min(path.find('/', 1), path.size());
    if (!segment_matches(pattern.substr(0, pattern_end), path.substr(0, path_end))) return false;
    pattern.remove_prefix(pattern_end);
    path.remove_prefix(path_end);
  }
  return pattern.empty() && path.empty();
}

HttpReply token_count_reply(const Json& body, const ServedModel& model) {
  RequestFields fields(body);
  const auto text = fields.text("inputs", SIZE_MAX);
  const bool with_texts = fields.boolean("do_decode").value_or(true);
  if (!text || text->empty()) fields.fail("inputs", "must be a text of at least one character");
  if (fields.error()) return refusal_reply(*fields.error());
  const ServedModel::Ids result = model.encode(*text, {});
  if (const auto* error = std::get_if<ApiError>(&result)) return refusal_reply(*error);
  const auto& ids = std::get<std::vector<int32_t>>(result);
  Json texts = Json::array();
  if (with_texts) {
    for (int32_t id : ids) texts.push_back(replace_invalid_utf8(model.tokenizer()->token_bytes(id)));
  }
  return {.body = dump_json({{"token_number", ids.size()}, {"tokens", std::move(texts)}})};
}

}  // namespace

std::string model_of(std::string_view path) {
  const std::string_view rest = path.substr(kModels.size());
  return percent_decode(rest.substr(0, rest.find('/')));
}

const Routes::Route Routes::kRoutes[] = {
    {"POST", "/", Guard::kKey, &Routes::tgi_root},
    {"POST", "/generate", Guard::kKey, &Routes::generate},
    {"POST", "/generate_stream", Guard::kKey, &Routes::tgi_stream},
    {"POST", "/infer", Guard::kKey, &Routes::infer},
    {"POST", "/infer_token", Guard::kKey, &Routes::infer},
    {"POST", "/v1/tokenizer", Guard::kKey, &Routes::count_tokens},
    {"POST", "/v2/models/*/generate", Guard::kKey, &Routes::triton_generate},
    {"POST", "/v2/models/*/generate_stream", Guard::kKey, &Routes::triton_stream},
    {"POST", "/v2/models/*/infer", Guard::kKey, &Routes::triton_infer},
    {"POST", "/v2/models/*/stopInfer", Guard::kKey, &Routes::stop_infer},
    {"GET", "/v2", Guard::kKey, &Routes::server},
    {"GET", "/v2/models/*", Guard::kKey, &Routes::model},
    {"GET", "/v2/models/*/config", Guard::kKey, &Routes::model_config},
    {"GET", "/v2/models/*/ready", Guard::kKey, &Routes::model_ready},
    {"GET", "/v2/models/*/getSlotCount", Guard::kKey, &Routes::slots},
    {"GET", "/v2/health/live", Guard::kOpen, &Routes::live},
    {"GET", "/v2/health/ready", Guard::kOpen, &Routes::ready},
    {"GET", "/v2/status", Guard::kKey, &Routes::status},
    {"GET", "/v1/status", Guard::kKey, &Routes::status},
    {"GET", "/v1/config", Guard::kKey, &Routes::config},
    {"GET", "/info", Guard::kKey, &Routes::info},
    {"GET", "/health/timed", Guard::kKey, &Routes::timed},
    {"GET", "/health/timed-*", Guard::kKey, &Routes::timed},
    {"GET", "/metrics-json", Guard::kKey, &Routes::metrics},
    {"GET", "/stopService", Guard::kKey, &Routes::stop_service, true, true},
};

const Routes::Route* Routes::find(std::string_view method, std::string_view path,
                                  std::string& allowed) const {
  const std::string plain = plain_path(path);
  for (const Route& route : kRoutes) {
    const bool is_root = std::string_view(route.path) == "/";
    if (is_root ? plain != "/" : !matches(route.path, plain)) continue;
    const bool is_head = method == "HEAD" && std::string_view(route.method) == "GET" && !route.has_effect;
    if (method == route.method || is_head) return &route;
    allowed += allowed.empty() ? route.method : std::string(", ") + route.method;
  }
  return nullptr;
}

std::shared_ptr<Exchange> Routes::call(const Route& route, HttpRequest& request, ResponseWriter& writer) {
  if (route.admin_only && !request.admin) {
    return refuse(writer,
                  {.status = 404, .message = request.path + " is at the management port (--admin-port)"});
  }
  return (this->*route.handler)(request, writer);
}

std::shared_ptr<Exchange> Routes::refuse(ResponseWriter& writer, const ApiError& error) const {
  writer.reply(refusal_reply(error));
  return nullptr;
}

std::shared_ptr<Exchange> Routes::answer(HttpRequest& request, ResponseWriter& writer, Parse parse) {
  const ServedModel* model = services_.model();
  if (model == nullptr) return refuse(writer, unavailable("the model is being loaded"));
  auto exchange = std::make_shared<AnswerExchange>(services_.client, running_, writer, text_);
  Context context{.model = *model, .limits = services_.limits, .request_id = request.id};
  if (request.path.starts_with(kModels)) context.model_name = model_of(request.path);
  const size_t bytes = request.body.size();
  services_.work.run_sized(
      bytes, exchange,
      [this, target = exchange.get(), parse = std::move(parse), context = std::move(context),
       body = std::move(request.body), count = std::move(request.body_count)] {
        auto json = services_.parse_body(body);
        const auto* error = std::get_if<ApiError>(&json);
        const auto parsed = std::make_shared<Parsed>(error != nullptr ? Parsed(*error)
                                                                      : parse(std::get<Json>(json), context));
        if (const auto* prepared = std::get_if<Prepared>(parsed.get()))
          log_unknown_fields(context.request_id, prepared->unknown);
        return std::function<void()>([target, parsed] { target->start(std::move(*parsed)); });
      });
  return exchange;
}

std::shared_ptr<Exchange> Routes::answer_of_model(HttpRequest& request, ResponseWriter& writer, Parse parse) {
  const ServedModel* served = services_.model();
  if (served != nullptr) {
    if (const auto error = served->check_name(model_of(request.path))) return refuse(writer, *error);
  }
  return answer(request, writer, std::move(parse));
}

std::shared_ptr<Exchange> Routes::compute(HttpRequest& request, ResponseWriter& writer,
                                          std::function<HttpReply(const Json&, const ServedModel&)> compute) {
  const ServedModel* model = services_.model();
  if (model == nullptr) return refuse(writer, unavailable("the model is being loaded"));
  auto exchange = std::make_shared<PendingReply>(writer);
  const size_t bytes = request.body.size();
  services_.work.run_sized(
      bytes, exchange,
      [this, model, &writer, compute = std::move(compute), body = std::move(request.body),
       count = std::move(request.body_count)] {
        auto json = services_.parse_body(body);
        const auto* error = std::get_if<ApiError>(&json);
        HttpReply reply = error != nullptr ? refusal_reply(*error) : compute(std::get<Json>(json), *model);
        return std::function<void()>([&writer, reply = std::move(reply)] { writer.reply(reply); });
      });
  return exchange;
}

std::shared_ptr<Exchange> Routes::tgi_root(HttpRequest& request, ResponseWriter& writer) {
  return answer(request, writer, [](const Json& body, const Context& context) {
    return parse_tgi(TgiPath::kRoot, body, context);
  });
}

// Two protocols share this path: one has a prompt, the other inputs.
std::shared_ptr<Exchange> Routes::generate(HttpRequest& request, ResponseWriter& writer) {
  return answer(request, writer, [](const Json& body, const Context& context) -> Parsed {
    if (body.contains("prompt") && !body["prompt"].is_null()) return parse_vllm(body, context);
    if (body.contains("inputs") && !body["inputs"].is_null())
      return parse_tgi(TgiPath::kGenerate, body, context);
    return bad_request("inputs", "inputs (as in TGI) or prompt (as in vLLM) is needed, a text");
  });
}

std::shared_ptr<Exchange> Routes::tgi_stream(HttpRequest& request, ResponseWriter& writer) {
  return answer(request, writer, [](const Json& body, const Context& context) {
    return parse_tgi(TgiPath::kStream, body, context);
  });
}

std::shared_ptr<Exchange> Routes::infer(HttpRequest& request, ResponseWriter& writer) {
  return answer(request, writer, parse_native);
}

std::shared_ptr<Exchange> Routes::triton_generate(HttpRequest& request, ResponseWriter& writer) {
  return answer_of_model(request, writer, [](const Json& body, const Context& context) {
    return parse_triton_text(TritonPath::kGenerate, body, context);
  });
}

std::shared_ptr<Exchange> Routes::triton_stream(HttpRequest& request, ResponseWriter& writer) {
  return answer_of_model(request, writer, [](const Json& body, const Context& context) {
    return parse_triton_text(TritonPath::kStream, body, context);
  });
}

std::shared_ptr<Exchange> Routes::triton_infer(HttpRequest& request, ResponseWriter& writer) {
  return answer_of_model(request, writer, parse_triton_tokens);
}

std::shared_ptr<Exchange> Routes::stop_infer(HttpRequest& request, ResponseWriter& writer) {
  const ServedModel* served = services_.model();
  if (served == nullptr) return refuse(writer, unavailable("the model is being loaded"));
  if (const auto error = served->check_name(model_of(request.path))) return refuse(writer, *error);
  const auto json = services_.parse_body(request.body);
  if (const auto* error = std::get_if<ApiError>(&json)) return refuse(writer, *error);
  RequestFields fields(std::get<Json>(json));
  const auto id = fields.text("id", 256);
  if (!id) fields.fail("id", "is missing");
  if (fields.error()) return refuse(writer, *fields.error());
  const auto found = running_.find(*id);
  if (id->empty() || found == running_.end())
    return refuse(writer, {.status = 404, .message = "no request of that id is under way"});
  found->second->stop();
  writer.reply({.body = dump_json({{"id", *id}})});
  return nullptr;
}

std::shared_ptr<Exchange> Routes::count_tokens(HttpRequest& request, ResponseWriter& writer) {
  return compute(request, writer, token_count_reply);
}

}  // namespace fathom::mindie
