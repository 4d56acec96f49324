// Bodies and replies of MindIE's protocols over the demo model; the whole way is tested end to end.
#include "server/mindie/protocols.h"

#include <gtest/gtest.h>

#include "server/mindie/error.h"
#include "server/mindie/information.h"
#include "server/mindie/routes.h"
#include "support/served_model.h"

namespace fathom::mindie {
namespace {

class MindieProtocols : public fathom::testing::DemoModelTest {
 protected:
  template <typename Parse>
  static Parsed parse(Parse parse_body, const std::string& body, const ServerLimits& limits = {}) {
    return parse_body(parse_json(body, "test", {}).value(),
                      Context{.model = *model_, .limits = limits, .request_id = "r1", .model_name = "demo"});
  }
  static Prepared good(Parsed parsed) {
    if (const auto* error = std::get_if<ApiError>(&parsed)) {
      ADD_FAILURE() << error->message;
      return {};
    }
    return std::get<Prepared>(std::move(parsed));
  }
  static Parsed tgi(const Json& body, const Context& context) {
    return parse_tgi(TgiPath::kGenerate, body, context);
  }
  static Parsed tgi_stream(const Json& body, const Context& context) {
    return parse_tgi(TgiPath::kStream, body, context);
  }
  static Parsed triton(const Json& body, const Context& context) {
    return parse_triton_text(TritonPath::kGenerate, body, context);
  }
  static Parsed triton_stream(const Json& body, const Context& context) {
    return parse_triton_text(TritonPath::kStream, body, context);
  }

  // "He" + "y" and the model's end.
  static std::vector<Answer> answers() {
    Answer answer{.text = "Hey", .finish_reason = FinishReason::kStop};
    for (int32_t id : {40, 41, *model_->tokenizer()->eos_id()})
      answer.tokens.push_back({.id = id, .logprob = -0.5, .top_logprobs = {}});
    return {answer};
  }
  // The JSON of one server-sent event.
  static Json event_of(const std::string& text) {
    EXPECT_TRUE(text.starts_with("data: ") && text.ends_with("\n\n")) << text;
    return parse_json(text.substr(6), "event", {}).value();
  }
};

TEST_F(MindieProtocols, ParametersArriveWhereTheyBelong) {
  const Prepared request = good(parse(tgi, R"({"inputs": "My name is Olivier and I", "parameters": {
      "best_of": 1, "decoder_input_details": false, "details": true, "do_sample": true, "max_new_tokens": 7,
      "repetition_penalty": 1.5, "return_full_text": false, "seed": 18446744073709551615, "stop": ["photographer"],
      "temperature": 0.5, "top_k": 10, "top_p": 0.9, "truncate": null, "typical_p": null, "watermark": false,
      "priority": 1, "timeout": 10, "odd": 1}})"));
  const SamplingParams& sampling = request.generation.sampling;
  EXPECT_EQ(sampling.max_tokens, 7);
  EXPECT_EQ(sampling.repetition_penalty, 1.5);
  EXPECT_EQ(sampling.seed, UINT64_MAX);
  EXPECT_EQ(sampling.stop_strings, std::vector<std::string>{"photographer"});
  EXPECT_EQ(sampling.temperature, 0.5);
  EXPECT_EQ(sampling.top_k, 10);
  EXPECT_EQ(sampling.top_p, 0.9);
  EXPECT_EQ(request.generation.priority, -4);
  EXPECT_EQ(request.generation.timeout, 10.0);
  EXPECT_FALSE(request.stream);
  EXPECT_EQ(request.unknown, std::vector<std::string>{"odd"});
}

TEST_F(MindieProtocols, GreedyUnlessToldToSample) {
  const auto temperature = [](const char* parameters) {
    return good(parse(tgi, std::string(R"({"inputs": "x", "parameters": )") + parameters + "}"))
        .generation.sampling.temperature;
  };
  EXPECT_EQ(temperature("{}"), 0);
  EXPECT_EQ(temperature("null"), 0);
  EXPECT_EQ(temperature(R"({"do_sample": true})"), model_->default_sampling().temperature);
  EXPECT_EQ(temperature(R"({"top_k": 5})"), model_->default_sampling().temperature);
  EXPECT_EQ(temperature(R"({"temperature": 0.3})"), 0.3);
  EXPECT_EQ(temperature(R"({"temperature": 0.3, "do_sample": false})"), 0);
  EXPECT_EQ(good(parse(tgi, R"({"inputs": "x"})")).generation.sampling.max_tokens, 20);
}

TEST_F(MindieProtocols, AnswersEndWhereTheContextOrTheLimitDoes) {
  const int64_t context = model_->max_model_len();
  const auto max_tokens = [](const ServerLimits& limits) {
    const Prepared request =
        good(parse(tgi, R"({"inputs": "x", "parameters": {"max_new_tokens": 2147483647}})", limits));
    return std::pair(*request.generation.sampling.max_tokens,
                     static_cast<int64_t>(request.generation.prompts[0].size()));
  };
  const auto [free, prompt] = max_tokens({});
  EXPECT_EQ(free, context - prompt);
  EXPECT_EQ(max_tokens({.max_output_tokens = 3}).first, 3);
}

TEST_F(MindieProtocols, TruncateKeepsTheEnd) {
  const Prepared all = good(parse(tgi, R"({"inputs": "one two three four"})"));
  const Prepared cut = good(parse(tgi, R"({"inputs": "one two three four", "parameters": {"truncate": 2}})"));
  const std::vector<int32_t>& ids = all.generation.prompts[0];
  ASSERT_GT(ids.size(), 2u);
  EXPECT_EQ(cut.generation.prompts[0], std::vector<int32_t>(ids.end() - 2, ids.end()));
}

TEST_F(MindieProtocols, BadBodiesAreNamed) {
  using ParseFunction = Parsed (*)(const Json&, const Context&);
  const std::tuple<ParseFunction, const char*, const char*> cases[] = {
      {tgi, R"({"inputs": ""})", "inputs"},
      {tgi, R"({"inputs": 3})", "inputs"},
      {tgi, R"({"inputs": "x", "parameters": []})", "parameters"},
      {tgi, R"({"inputs": "x", "parameters": {"temperature": 2.5}})", "parameters.temperature"},
      {tgi, R"({"inputs": "x", "parameters": {"max_new_tokens": 0}})", "parameters.max_new_tokens"},
      {tgi, R"({"inputs": "x", "parameters": {"priority": 6}})", "parameters.priority"},
      {tgi, R"({"inputs": "x", "parameters": {"timeout": 0}})", "parameters.timeout"},
      {tgi, R"({"inputs": "x", "parameters": {"watermark": true}})", "parameters.watermark"},
      {tgi, R"({"inputs": "x", "parameters": {"typical_p": 0.5}})", "parameters.typical_p"},
      {tgi, R"({"inputs": "x", "parameters": {"best_of": 2}})", "parameters.best_of"},
      {tgi, R"({"inputs": "x", "parameters": {"truncate": 0}})", "parameters.truncate"},
      {tgi, R"({"inputs": "x", "parameters": {"do_sample": 1}})", "parameters.do_sample"},
      {tgi_stream, R"({"inputs": "x", "parameters": {"decoder_input_details": true}})",
       "parameters.decoder_input_details"},
      {parse_vllm, R"({"prompt": ["a"]})", "prompt"},
      {parse_vllm, R"({"prompt": "a", "n": 17})", "n"},
      {parse_vllm, R"({"prompt": "a", "n": 2, "best_of": 3})", "best_of"},
      {parse_vllm, R"({"prompt": "a", "use_beam_search": true})", "use_beam_search"},
      {triton, R"({"text_input": "x", "id": "a b"})", "id"},
      {triton, R"({"text_input": "x", "id": ""})", "id"},
      {triton, R"({"id": "a"})", "text_input"},
      {parse_triton_tokens, R"({"inputs": []})", "inputs"},
      {parse_triton_tokens,
       R"({"inputs": [{"name": "a", "shape": [1, 2], "datatype": "INT8", "data": [1, 2]}]})",
       "inputs[0].datatype"},
      {parse_triton_tokens,
       R"({"inputs": [{"name": "a", "shape": [1, 3], "datatype": "UINT32", "data": [1, 2]}]})",
       "inputs[0].shape"},
      {parse_triton_tokens,
       R"({"inputs": [{"name": "a", "shape": [1, 1], "datatype": "UINT32", "data": [-1]}]})",
       "inputs[0].data"},
      {parse_native, R"({"stream": true})", "inputs"},
      {parse_native, R"({"inputs": "x", "input_id": [1]})", "inputs"},
      {parse_native, R"({"input_id": []})", "input_id"},
      {parse_native, R"({"input_id": [99999999]})", "input_id"}};
  for (const auto& [parse_body, body, param] : cases) {
    const Parsed parsed = parse(parse_body, body);
    const auto* error = std::get_if<ApiError>(&parsed);
    ASSERT_NE(error, nullptr) << body;
    EXPECT_EQ(error->param, param) << body << ": " << error->message;
    EXPECT_EQ(refusal_reply(*error).status, 422) << body;
  }
}

TEST_F(MindieProtocols, TgiReplies) {
  const char* body = R"({"inputs": "Hi", "parameters": {"details": true, "seed": 9, "return_full_text": true,
                         "decoder_input_details": true}})";
  const Prepared request = good(parse(tgi, body));
  EXPECT_EQ(request.generation.sampling.logprobs, 0);
  const Json whole = request.form->whole(answers());
  EXPECT_EQ(whole["generated_text"], "HiHey");
  const Json& details = whole["details"];
  const auto prompt_tokens = request.generation.prompts[0].size();
  EXPECT_EQ(details["prompt_tokens"], prompt_tokens);
  EXPECT_EQ(details["finish_reason"], "eos_token");
  EXPECT_EQ(details["generated_tokens"], 3);
  EXPECT_EQ(details["seed"], 9);
  EXPECT_EQ(details["prefill"].size(), prompt_tokens);
  EXPECT_EQ(details["tokens"].size(), 3u);
  EXPECT_EQ(details["tokens"][0]["id"], 40);
  EXPECT_EQ(details["tokens"][0]["logprob"], -0.5);
  EXPECT_EQ(details["tokens"][0]["special"], false);
  EXPECT_EQ(details["tokens"][2]["special"], true);
  const Prepared plain = good(parse(tgi, R"({"inputs": "Hi"})"));
  EXPECT_EQ(dump_json(plain.form->whole(answers())), R"({"generated_text":"Hey"})");
  const auto root = [](const Json& json, const Context& context) {
    return parse_tgi(TgiPath::kRoot, json, context);
  };
  EXPECT_EQ(dump_json(good(parse(root, R"({"inputs": "Hi"})")).form->whole(answers())),
            R"([{"generated_text":"Hey"}])");
}

TEST_F(MindieProtocols, TgiStream) {
  const Prepared request =
      good(parse(tgi_stream, R"({"inputs": "Hi", "parameters": {"details": true, "seed": 1}})"));
  EXPECT_TRUE(request.stream);
  EXPECT_EQ(request.form->stream_head().content_type, "text/event-stream; charset=utf-8");
  std::vector<Answer> all = answers();
  const SampledToken last = all[0].tokens.back();
  const Json end = event_of(request.form->piece(all, {.text = "y", .token = &last}));
  EXPECT_EQ(end["token"]["text"], "y");
  EXPECT_EQ(end["generated_text"], "Hey");
  EXPECT_EQ(end["details"]["finish_reason"], "eos_token");
  EXPECT_EQ(end["details"]["seed"], 1);
  all[0].finish_reason = FinishReason::kNone;
  const Json middle = event_of(request.form->piece(all, {.text = "y", .token = &all[0].tokens[0]}));
  EXPECT_EQ(middle, Json({{"token", {{"id", 40}, {"text", "y"}, {"logprob", -0.5}, {"special", false}}},
                          {"generated_text", nullptr},
                          {"details", nullptr}}));
  const Json error = event_of(request.form->stream_error(unavailable("gone")));
  EXPECT_EQ(error, Json({{"error", "gone"}, {"error_type", "Service Unavailable"}}));
}

TEST_F(MindieProtocols, VllmReplies) {
  const Prepared request = good(parse(
      parse_vllm, R"({"prompt": "Oh ", "n": 2, "max_tokens": 5, "temperature": 1, "ignore_eos": true})"));
  EXPECT_EQ(request.generation.n, 2);
  EXPECT_TRUE(request.generation.sampling.ignore_eos);
  EXPECT_EQ(request.generation.sampling.max_tokens, 5);
  EXPECT_EQ(good(parse(parse_vllm, R"({"prompt": "Oh "})")).generation.sampling.max_tokens, 16);
  EXPECT_EQ(good(parse(parse_vllm, R"({"prompt": "Oh ", "best_of": 3})")).generation.n, 3);
  std::vector<Answer> two = {answers()[0], answers()[0]};
  two[1].text = "you";
  EXPECT_EQ(dump_json(request.form->whole(two)), R"({"text":["Oh Hey","Oh you"]})");
  EXPECT_EQ(request.form->piece(two, {.index = 1, .text = "u"}), std::string(R"({"text":["","u"]})") + '\0');
  two[1].finish_reason = FinishReason::kNone;
  EXPECT_EQ(request.form->piece(two, {.index = 1}), "");
  EXPECT_TRUE(request.form->stream_error(unavailable("x")).ends_with('\0'));
  const Parsed unknown = parse(parse_vllm, R"({"prompt": "a", "model": "other"})");
  EXPECT_EQ(refusal_reply(std::get<ApiError>(unknown)).status, 404);
}

TEST_F(MindieProtocols, TritonText) {
  const char* body =
      R"({"id": "a-1_B", "text_input": "My name", "parameters": {"details": true, "do_sample": true,
      "max_new_tokens": 20, "repetition_penalty": 1.1, "seed": 123, "temperature": 1, "top_k": 10, "top_p": 0.99,
      "batch_size": 100, "typical_p": 1, "watermark": false, "perf_stat": false, "priority": 5, "timeout": 10}})";
  const Prepared request = good(parse(triton, body));
  EXPECT_EQ(request.id, "a-1_B");
  EXPECT_TRUE(request.unknown.empty());
  EXPECT_EQ(request.form->whole(answers()),
            Json({{"id", "a-1_B"},
                  {"model_name", "demo"},
                  {"model_version", nullptr},
                  {"text_output", "Hey"},
                  {"details", {{"finish_reason", "eos_token"}, {"generated_tokens", 3}, {"seed", 123}}}}));
  const Prepared stream = good(parse(triton_stream, body));
  EXPECT_TRUE(stream.stream);
  std::vector<Answer> all = answers();
  all[0].finish_reason = FinishReason::kNone;
  const Json later = event_of(stream.form->piece(all, {.text = "y", .milliseconds = 2.5}));
  EXPECT_EQ(later["text_output"], "y");
  EXPECT_EQ(later["decode_time"], 2.5);
  EXPECT_TRUE(later["prefill_time"].is_null());
  EXPECT_FALSE(later["details"].contains("finish_reason"));
  all[0].tokens.resize(1);
  EXPECT_EQ(event_of(stream.form->piece(all, {.text = "H", .milliseconds = 40}))["prefill_time"], 40.0);
  const Prepared unnamed = good(parse(triton, R"({"text_input": "x"})"));
  EXPECT_EQ(unnamed.id, "");  // stopInfer finds only what the client has named
  EXPECT_EQ(unnamed.form->whole(answers())["id"], "r1");
}

TEST_F(MindieProtocols, TritonTokens) {
  const Prepared request = good(parse(parse_triton_tokens, R"({"id": "42",
      "inputs": [{"name": "input0", "shape": [1, 3], "datatype": "UINT32", "data": [39, 31, 13]}],
      "outputs": [{"name": "output0"}], "parameters": {"temperature": 0.5, "top_k": 10, "max_new_tokens": 20}})"));
  EXPECT_EQ(request.generation.prompts, (std::vector<std::vector<int32_t>>{{39, 31, 13}}));
  const Json reply = request.form->whole(answers());
  const int32_t end = *model_->tokenizer()->eos_id();
  EXPECT_EQ(reply["id"], "42");
  EXPECT_EQ(
      reply["outputs"],
      Json::parse(fmt::format(
          R"([{{"name": "output0", "shape": [1, 3], "datatype": "UINT32", "data": [40, 41, {}]}}])", end)));
  good(parse(parse_triton_tokens,
             R"({"inputs": [{"name": "i", "shape": [1], "datatype": "UINT32", "data": [9]}]})"));
}

TEST_F(MindieProtocols, Native) {
  const Prepared request =
      good(parse(parse_native, R"({"input_id": [5618, 13], "stream": false, "parameters": {
      "temperature": 0.5, "top_k": 10, "top_p": 0.95, "max_new_tokens": 20, "do_sample": true, "seed": 5,
      "repetition_penalty": 1.03, "details": true, "typical_p": 1.0, "watermark": false, "priority": 5,
      "timeout": 10}})"));
  EXPECT_EQ(request.generation.prompts[0], (std::vector<int32_t>{5618, 13}));
  Json whole = request.form->whole(answers());
  EXPECT_EQ(whole["generated_text"], "Hey");
  EXPECT_EQ(whole["details"]["generated_token_ids"].size(), 3u);
  EXPECT_EQ(whole["details"]["seed"], 5);
  const Prepared stream = good(parse(parse_native, R"({"inputs": "x", "stream": true})"));
  std::vector<Answer> all = answers();
  const Json end = event_of(stream.form->piece(all, {.token = &all[0].tokens[2], .milliseconds = 3}));
  EXPECT_EQ(end,
            Json::parse(fmt::format(R"({{"prefill_time": null, "decode_time": 3.0, "generated_text": "Hey",
      "details": null, "token": {{"id": [{}], "text": null}}}})",
                                    all[0].tokens[2].id)));
  all[0].finish_reason = FinishReason::kNone;
  all[0].tokens.resize(1);
  EXPECT_EQ(event_of(stream.form->piece(all, {.text = "H", .token = &all[0].tokens[0], .milliseconds = 4.5})),
            Json::parse(R"({"prefill_time": 4.5, "decode_time": null, "token": {"id": [40], "text": "H"}})"));
}

TEST_F(MindieProtocols, FinishReasons) {
  Answer answer = answers()[0];
  EXPECT_EQ(finish_name(answer, *model_), "eos_token");
  answer.tokens.pop_back();
  EXPECT_EQ(finish_name(answer, *model_), "stop_sequence");
  answer.finish_reason = FinishReason::kLength;
  EXPECT_EQ(finish_name(answer, *model_), "length");
}

TEST_F(MindieProtocols, Errors) {
  const auto type = [](int status) {
    return refusal_json({.status = status, .message = "m"})["error_type"].get<std::string>();
  };
  EXPECT_EQ(type(400), "Input Validation Error");
  EXPECT_EQ(type(404), "NotFoundError");
  EXPECT_EQ(type(429), "Generation Error");
  EXPECT_EQ(type(500), "Incomplete Generation");
  EXPECT_EQ(type(504), "Incomplete Generation");
  EXPECT_EQ(type(503), "Service Unavailable");
  EXPECT_EQ(refusal_reply({.status = 504, .message = "m"}).status, 500);
  const HttpReply full = refusal_reply({.status = 429, .message = "m"});
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.headers.front().first, "Retry-After");
}

TEST_F(MindieProtocols, Information) {
  const ServiceFacts facts{.version = "1",
                           .max_num_seqs = 8,
                           .block_size = 16,
                           .max_prefill_tokens = 128,
                           .max_prefill_seqs = 4,
                           .admin_address = "127.0.0.1:1026"};
  ServiceLoad load{.waiting = 2, .running = 3, .statistics = {}};
  load.statistics.pages_used = 10;
  load.statistics.pages_total = 30;
  EXPECT_EQ(slots_json(facts, load),
            Json({{"total_slots", 8}, {"free_slots", 5}, {"available_tokens_length", 320}}));
  const Json metrics = metrics_json(facts, load, 12.5, 0.25);
  EXPECT_EQ(metrics["resultType"], "vector");
  EXPECT_EQ(metrics["result"][0], Json::parse(R"({"metric": [{"__name__": "TTFT", "job": "node",
      "instance": "127.0.0.1:1026"}], "value": "12.500000"})"));
  EXPECT_EQ(metrics["result"][2]["value"], "2");
  EXPECT_EQ(metrics["result"][4]["metric"][0]["__name__"], "remainBlocks");
  EXPECT_EQ(metrics["result"][4]["value"], "20");
  const ServerLimits limits{.max_prompt_tokens = 100, .max_output_tokens = 50};
  EXPECT_EQ(info_json(facts, *model_, limits)["max_input_length"], 100);
  EXPECT_EQ(info_json(facts, *model_, limits)["models"][0]["model_id"], "demo");
  EXPECT_EQ(server_json(facts, *model_, limits)["extensions"]["max_iter_times"], 50);
  EXPECT_EQ(model_json("demo")["inputs"],
            Json::parse(R"([{"name": "input0", "shape": [-1], "datatype": "UINT32"}])"));
  EXPECT_EQ(model_config_json("demo", *model_)["max_seq_len"], model_->max_model_len());
  EXPECT_EQ(config_json(facts, *model_, limits)["maxOutputLen"], 50);
  EXPECT_EQ(status_json(facts, load)["resource"]["runningRequestNum"], 3);
}

TEST(MindieRoutes, Paths) {
  ServerMetrics metrics;
  const ServerLimits limits;
  EngineClient client(limits, 1, metrics);
  HealthProbe probe(client);
  WorkQueue work({}, {});
  const Routes routes({.client = client,
                       .metrics = metrics,
                       .probe = probe,
                       .limits = limits,
                       .model = {},
                       .work = work,
                       .parse_body = {}},
                      {}, AnswerExchange::Text::kNew);
  const auto find = [&routes](const char* method, const char* path) {
    std::string allowed;
    const Routes::Route* route = routes.find(method, path, allowed);
    return route != nullptr ? std::string(route->path) : "-" + allowed;
  };
  EXPECT_EQ(find("POST", "/"), "/");
  EXPECT_EQ(find("GET", "/"), "-POST");
  EXPECT_EQ(find("POST", "/v2/models/a/infer"), "/v2/models/*/infer");
  EXPECT_EQ(find("POST", "/v2/models/a/versions/1/infer"), "/v2/models/*/infer");
  EXPECT_EQ(find("GET", "/v2/models/a/versions/1"), "/v2/models/*");
  EXPECT_EQ(find("POST", "/v2/models/a/versions/2/infer"), "-");
  EXPECT_EQ(find("POST", "/v2/models/a/versions/12/infer"), "-");
  EXPECT_EQ(find("POST", "/v2/models//infer"), "-");
  EXPECT_EQ(find("POST", "/v2/models/infer"), "-GET");
  EXPECT_EQ(find("GET", "/v2/models/a/infer"), "-POST");
  EXPECT_EQ(find("GET", "/v2"), "/v2");
  EXPECT_EQ(find("GET", "/v2/"), "-");
  EXPECT_EQ(find("GET", "/health/timed"), "/health/timed");
  EXPECT_EQ(find("GET", "/health/timed-5"), "/health/timed-*");
  EXPECT_EQ(find("GET", "/health/timed-"), "-");
  EXPECT_EQ(find("GET", "/generate/x"), "-");
  EXPECT_EQ(model_of("/v2/models/a/infer"), "a");
  EXPECT_EQ(model_of("/v2/models/a"), "a");
  EXPECT_EQ(model_of("/v2/models/a%2Fb%20c/infer"), "a/b c");
  EXPECT_EQ(find("HEAD", "/v2/health/live"), "/v2/health/live");
  EXPECT_EQ(find("HEAD", "/v2/models/a/infer"), "-POST");
  EXPECT_EQ(find("HEAD", "/stopService"), "-GET");
  EXPECT_EQ(find("GET", "/stopService"), "/stopService");
}

}  // namespace
}  // namespace fathom::mindie
