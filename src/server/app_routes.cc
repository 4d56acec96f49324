// The routes that answer at once: models, tokens, template, health, metrics.
#include "server/app.h"

#include <algorithm>

#include "server/chat/chat_prompt.h"
#include "server/openai.h"
#include "server/process_metrics.h"
#include "server/request_fields.h"
#include "text/utf8.h"

namespace fathom {
namespace {

HttpReply json_reply(const Json& json) { return {.body = dump_json(json)}; }

Json model_json(const ServedModel& model, const std::string& name) {
  return {{"id", name},           {"object", "model"},    {"created", model.created()},
          {"owned_by", "fathom"}, {"root", model.name()}, {"max_model_len", model.max_model_len()}};
}

// messages through the template, for /tokenize and /apply-template.
std::variant<ServedModel::Rendered, ApiError> render_body(const Json& body, RequestFields& fields,
                                                          const ServedModel& model) {
  const ToolUse tools = read_tool_use(fields, model.tool_format());
  return render_chat(body, fields, tools, model);
}

ServedModel::Ids ids_of_body(const Json& body, RequestFields& fields, const ServedModel& model) {
  if (body.contains("messages")) {
    auto rendered = render_body(body, fields, model);
    if (const auto* error = std::get_if<ApiError>(&rendered)) return *error;
    return std::get<ServedModel::Rendered>(std::move(rendered)).ids;
  }
  const auto prompt = fields.text("prompt", SIZE_MAX);
  const bool special = fields.boolean("add_special_tokens").value_or(true);
  if (fields.error()) return *fields.error();
  if (!prompt) return bad_request("prompt", "prompt or messages is needed");
  return model.encode(*prompt, {.add_bos = special ? AddBos::kAsConfigured : AddBos::kNever});
}

HttpReply tokenize_reply(const Json& body, const ServedModel& model) {
  RequestFields fields(body);
  const bool with_texts = fields.boolean("return_token_strs").value_or(false);
  const ServedModel::Ids result = ids_of_body(body, fields, model);
  if (const auto* error = std::get_if<ApiError>(&result)) return error_reply(*error);
  const auto& ids = std::get<std::vector<int32_t>>(result);
  Json texts = nullptr;
  if (with_texts) {
    texts = Json::array();
    for (int32_t id : ids) texts.push_back(replace_invalid_utf8(model.tokenizer()->token_bytes(id)));
  }
  return json_reply({{"count", ids.size()},
                     {"max_model_len", model.max_model_len()},
                     {"tokens", ids},
                     {"token_strs", texts}});
}

HttpReply detokenize_reply(const Json& body, const ServedModel& model) {
  RequestFields fields(body);
  const std::vector<int32_t> ids = fields.token_ids("tokens", model.vocab_size(), SIZE_MAX);
  if (!body.contains("tokens")) fields.fail("tokens", "is missing");
  if (model.tokenizer() == nullptr) fields.fail("tokens", "cannot become text: the model has no tokenizer");
  if (fields.error()) return error_reply(*fields.error());
  return json_reply({{"prompt", model.tokenizer()->decode(ids)}});
}

HttpReply template_reply(const Json& body, const ServedModel& model) {
  RequestFields fields(body);
  auto rendered = render_body(body, fields, model);
  if (const auto* error = std::get_if<ApiError>(&rendered)) return error_reply(*error);
  return json_reply({{"prompt", std::get<ServedModel::Rendered>(rendered).text}});
}

}  // namespace

std::shared_ptr<Exchange> App::models(HttpRequest, ResponseWriter& writer) {
  if (!model_) {
    writer.reply(error_reply(unavailable("the model is being loaded")));
    return nullptr;
  }
  Json list = Json::array();
  for (const std::string& name : model_->shown_names()) list.push_back(model_json(*model_, name));
  writer.reply(json_reply({{"object", "list"}, {"data", std::move(list)}}));
  return nullptr;
}

std::shared_ptr<Exchange> App::one_model(HttpRequest request, ResponseWriter& writer) {
  if (!model_) {
    writer.reply(error_reply(unavailable("the model is being loaded")));
    return nullptr;
  }
  const std::string name =
      percent_decode(std::string_view(request.path).substr(std::string_view("/v1/models/").size()));
  if (const auto error = model_->check_name(name)) {
    writer.reply(error_reply(*error));
  } else {
    writer.reply(json_reply(model_json(*model_, name)));
  }
  return nullptr;
}

std::shared_ptr<Exchange> App::tokenize(HttpRequest request, ResponseWriter& writer) {
  return compute(std::move(request), writer, tokenize_reply);
}

std::shared_ptr<Exchange> App::detokenize(HttpRequest request, ResponseWriter& writer) {
  return compute(std::move(request), writer, detokenize_reply);
}

std::shared_ptr<Exchange> App::apply_template(HttpRequest request, ResponseWriter& writer) {
  return compute(std::move(request), writer, template_reply);
}

std::shared_ptr<Exchange> App::tokenizer_info(HttpRequest, ResponseWriter& writer) {
  if (!model_ || model_->tokenizer() == nullptr) {
    writer.reply(error_reply(model_ ? ApiError{.status = 404, .message = "the model has no tokenizer"}
                                    : unavailable("the model is being loaded")));
    return nullptr;
  }
  const Tokenizer& tokenizer = *model_->tokenizer();
  const auto spelling = [&tokenizer](std::optional<int32_t> id) {
    return id ? Json(tokenizer.spelling(*id)) : Json(nullptr);
  };
  writer.reply(json_reply({{"tokenizer_class", "PreTrainedTokenizerFast"},
                           {"bos_token", spelling(tokenizer.bos_id())},
                           {"eos_token", spelling(tokenizer.eos_id())},
                           {"pad_token", spelling(tokenizer.eos_id())},
                           {"add_bos_token", tokenizer.adds_bos()},
                           {"vocab_size", tokenizer.vocab_size()},
                           {"model_max_length", model_->max_model_len()}}));
  return nullptr;
}

std::shared_ptr<Exchange> App::version(HttpRequest, ResponseWriter& writer) {
  writer.reply(json_reply({{"version", options_.version}}));
  return nullptr;
}

std::shared_ptr<Exchange> App::ping(HttpRequest, ResponseWriter& writer) {
  writer.reply(json_reply({{"status", "ok"}}));
  return nullptr;
}

std::shared_ptr<Exchange> App::ready(HttpRequest request, ResponseWriter& writer) {
  if (request.query_value("deep")) {
    if (const auto error = access_.check(request, Guard::kKey)) {  // it costs work, unlike the other
      writer.reply(error_reply(*error));
      return nullptr;
    }
    return deep_health(std::move(request), writer);
  }
  std::optional<ApiError> error = client_.refusal();
  if (!error && client_.is_hung()) error = unavailable("the engine makes no progress");
  writer.reply(error ? error_reply(*error) : json_reply({{"status", "ok"}}));
  return nullptr;
}

// 200 once the engine has made a token, 503 where it does not in time. A full queue is work, not a failure.
std::shared_ptr<Exchange> App::deep_health(HttpRequest, ResponseWriter& writer) {
  constexpr double kSeconds = 30;
  if (!model_) {
    writer.reply(error_reply(unavailable("the model is being loaded")));
    return nullptr;
  }
  return probe_.ask(model_->probe_token(), kSeconds, [&writer](const ProbeResult& result) {
    const bool works = result.outcome == ProbeOutcome::kWorks || result.outcome == ProbeOutcome::kBusy;
    writer.reply(works ? json_reply({{"status", "ok"}}) : error_reply(unavailable(result.message)));
  });
}

std::shared_ptr<Exchange> App::load(HttpRequest, ResponseWriter& writer) {
  const EngineStatistics& statistics = client_.statistics();
  writer.reply(json_reply({{"server_load", client_.num_sequences()},
                           {"running", client_.num_sequences() - client_.num_waiting()},
                           {"waiting", client_.num_waiting()},
                           {"cache_pages_used", statistics.pages_used},
                           {"cache_pages", statistics.pages_total}}));
  return nullptr;
}

// llama-server's form, without prompts: what is in a slot changes from one look to the next.
std::shared_ptr<Exchange> App::slots(HttpRequest request, ResponseWriter& writer) {
  const std::vector<EngineClient::Running> running = client_.running();
  const auto most = static_cast<size_t>(client_.max_running());
  if (running.size() >= most && request.query_value("fail_on_no_slot")) {
    writer.reply(error_reply(unavailable("no slot is free")));
    return nullptr;
  }
  Json list = Json::array();
  for (size_t i = 0; i < std::max(most, running.size()); ++i) {
    const bool is_taken = i < running.size();
    Json slot = {{"id", i}, {"n_ctx", model_ ? model_->max_model_len() : 0}, {"is_processing", is_taken}};
    if (is_taken) {
      slot["id_task"] = running[i].ticket;
      slot["n_prompt_tokens"] = running[i].prompt_tokens;
      slot["next_token"] = {{"n_decoded", running[i].output_tokens}};
    }
    list.push_back(std::move(slot));
  }
  writer.reply(json_reply(list));
  return nullptr;
}

std::shared_ptr<Exchange> App::metrics(HttpRequest, ResponseWriter& writer) {
  writer.reply(
      {.content_type = "text/plain; version=0.0.4; charset=utf-8",
       .body = metrics_.render(options_.metrics_prefix, client_.statistics(), client_.num_waiting()) +
               process_metrics(options_.version)});
  return nullptr;
}

std::shared_ptr<Exchange> App::not_offered(HttpRequest request, ResponseWriter& writer) {
  writer.reply(error_reply(not_implemented(request.path + " is not offered by this server")));
  return nullptr;
}

}  // namespace fathom
