#include "offline/offline_run.h"

#include <gtest/gtest.h>

#include <set>

#include "base/file.h"
#include "base/text_lines.h"
#include "support/engine.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

class OfflineTest : public ::testing::Test {
 protected:
  static std::string model_dir() { return std::string(FATHOM_SOURCE_DIR) + "/models/demo"; }

  void SetUp() override {
    EngineOptions engine_options = small_options(model_dir());
    engine_options.max_model_len = 128;
    engine_ = load_engine(engine_options);
    ASSERT_NE(engine_, nullptr);
    auto model = ServedModel::create(*engine_, model_dir(), {"demo"}, SamplingDefaults::kModel);
    ASSERT_TRUE(model.ok()) << model.status().message();
    model_ = std::move(model).value();
    options_.path = folder_.file("in.jsonl");
    options_.out = folder_.file("out.jsonl");
    options_.defaults.fields["max_tokens"] = 6;
    options_.defaults.fields["ignore_eos"] = true;
    options_.defaults.seed = 3;
    options_.max_num_seqs = 8;
    options_.expanded_prompt_tokens = 171;
  }

  OfflineSummary run(const std::string& lines) {
    folder_.write("in.jsonl", lines);
    const auto summary = run_offline(*engine_, *model_, options_);
    EXPECT_TRUE(summary.ok()) << summary.status().message();
    return summary.ok() ? *summary : OfflineSummary{};
  }

  std::vector<Json> answers() const {
    std::vector<Json> records;
    const Status status =
        for_each_line(read_file(options_.out, 1 << 24).value(), [&](size_t, std::string_view line) {
          records.push_back(parse_json(line, options_.out, {}).value());
          return ok_status();
        });
    EXPECT_TRUE(status.ok());
    return records;
  }

  // The answers of one run.
  std::vector<Json> answers_to(const std::string& lines) {
    std::filesystem::remove(options_.out);
    run(lines);
    return answers();
  }

  TempDir folder_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ServedModel> model_;
  OfflineOptions options_;
};

std::string ids_line(const std::vector<int32_t>& ids, Json more = Json::object()) {
  more["ids"] = ids;
  return dump_json(more) + "\n";
}

std::vector<int32_t> counted_ids(int32_t first, size_t count) {
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = first + static_cast<int32_t>(i);
  return ids;
}

std::string batch_line(const std::string& id, const char* url, Json body) {
  return dump_json({{"custom_id", id}, {"method", "POST"}, {"url", url}, {"body", std::move(body)}}) + "\n";
}

std::string text_line(const std::string& id, Json body) {
  return batch_line(id, "/v1/completions", std::move(body));
}

std::string chat_line(const std::string& id, Json body) {
  body["messages"] = Json::array({{{"role", "user"}, {"content", "Hello"}}});
  return batch_line(id, "/v1/chat/completions", std::move(body));
}

const Json& body_of(const Json& record) { return record["response"]["body"]; }

TEST_F(OfflineTest, AnswersAreThoseOfSinglePrompts) {
  std::string lines;
  std::vector<Request> requests;
  for (int32_t i = 0; i < 20; ++i) {
    const auto ids = counted_ids(10 + 7 * i, 5 + static_cast<size_t>(3 * i));
    lines += ids_line(ids, {{"id", fmt::format("n{}", i)}, {"temperature", 0.7}, {"seed", i}});
    Request request{.prompt_ids = ids, .sampling = model_->default_sampling()};
    request.sampling.temperature = 0.7;
    request.sampling.max_tokens = 6;
    request.sampling.ignore_eos = true;
    request.sampling.seed = static_cast<uint64_t>(i);
    requests.push_back(std::move(request));
  }
  const OfflineSummary summary = run(lines);
  EXPECT_EQ(summary.num_lines, 20u);
  EXPECT_EQ(summary.num_failed, 0u);
  EXPECT_EQ(summary.answer_tokens, 120);
  const std::vector<Json> records = answers();
  ASSERT_EQ(records.size(), 20u);
  for (size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i]["index"], i);
    EXPECT_EQ(records[i]["id"], fmt::format("n{}", i));
    EXPECT_EQ(records[i]["finish_reason"], "length");
    EXPECT_EQ(records[i]["ids"].get<std::vector<int32_t>>(), run_all(*engine_, {requests[i]})[0].ids) << i;
  }
}

TEST_F(OfflineTest, WhatPromptsShareIsComputedOnce) {
  const auto shared = counted_ids(100, 80);
  std::string lines;
  for (int32_t i = 0; i < 30; ++i) {
    auto ids = shared;
    ids.push_back(i);
    lines += ids_line(ids);
  }
  const OfflineSummary summary = run(lines);
  EXPECT_EQ(summary.prompt_tokens, 30 * 81);
  EXPECT_EQ(summary.cached_tokens, 29 * 80);
}

TEST_F(OfflineTest, BadLinesTakeNothingFromTheOthers) {
  const OfflineSummary summary = run(ids_line({5, 6}) + "{\"ids\": [1,\n\n" + ids_line({1 << 30}) +
                                     "[1]\n{\"question\": 1}\n" + ids_line({7}, {{"temperature", 9}}) +
                                     ids_line(counted_ids(3, 128)) + ids_line(counted_ids(3, 126)));
  const std::vector<Json> records = answers();
  ASSERT_EQ(records.size(), 8u);
  EXPECT_EQ(summary.num_failed, 6u);
  const std::string where = options_.path + " line ";
  const char* said[] = {"",          "", "prompt must", "not an object", "\"messages\"", "temperature must",
                        "128 tokens"};
  const int numbers[] = {1, 2, 4, 5, 6, 7, 8};
  for (size_t i = 1; i < 7; ++i) {
    const auto message = records[i]["error"].get<std::string>();
    EXPECT_TRUE(message.starts_with(fmt::format("{}{}", where, numbers[i]))) << message;
    EXPECT_NE(message.find(said[i]), std::string::npos) << message;
  }
  EXPECT_EQ(records[0]["ids"].size(), 6u);
  // The context ends before the answer: that is no error.
  EXPECT_EQ(records[7]["ids"].size(), 2u);
  EXPECT_EQ(records[7]["finish_reason"], "length");
}

TEST_F(OfflineTest, BatchLinesHaveOpenAisAnswers) {
  const auto line = batch_line;
  const Json messages = Json::array({{{"role", "user"}, {"content", "Hello"}}});
  const OfflineSummary summary =
      run(line("a", "/v1/chat/completions",
               {{"model", "other"}, {"messages", messages}, {"max_completion_tokens", 4}}) +
          line("b", "/v1/completions",
               {{"prompt", {"It was", "The"}}, {"n", 2}, {"echo", true}, {"logprobs", 1}}) +
          line("c", "/v1/completions", {{"prompt", "x"}, {"max_tokens", 1000}}) +
          line("a", "/v1/completions", {{"prompt", "x"}}) + line("d", "/v1/embeddings", {{"input", "x"}}) +
          "{\n" + line("e", "/v1/completions", {{"prompt", "x"}, {"stream", true}}));
  EXPECT_EQ(summary.num_failed, 5u);
  const std::vector<Json> records = answers();
  ASSERT_EQ(records.size(), 7u);
  for (size_t i : {0u, 1u}) {
    EXPECT_EQ(records[i]["response"]["status_code"], 200) << records[i];
    EXPECT_EQ(records[i]["error"], nullptr);
  }
  EXPECT_EQ(records[0]["custom_id"], "a");
  EXPECT_EQ(records[0]["response"]["body"]["usage"]["completion_tokens"], 4);
  EXPECT_EQ(records[0]["response"]["body"]["object"], "chat.completion");
  const Json& choices = records[1]["response"]["body"]["choices"];
  ASSERT_EQ(choices.size(), 4u);
  EXPECT_TRUE(choices[1]["text"].get<std::string>().starts_with("It was"));
  EXPECT_TRUE(choices[2]["text"].get<std::string>().starts_with("The"));
  EXPECT_NE(choices[0]["text"], choices[1]["text"]);
  EXPECT_GT(choices[1]["logprobs"]["tokens"].size(), 6u);
  EXPECT_EQ(records[2]["response"]["status_code"], 400);
  EXPECT_EQ(records[2]["response"]["body"]["error"]["code"], "context_length_exceeded");
  EXPECT_EQ(records[3]["response"], nullptr);
  EXPECT_NE(records[3]["error"]["message"].get<std::string>().find("is that of " + options_.path + " line 1"),
            std::string::npos);
  EXPECT_EQ(records[4]["error"]["code"], "invalid_line");
  EXPECT_EQ(records[5]["custom_id"], nullptr);
  EXPECT_EQ(records[6]["response"]["status_code"], 400);
}

TEST_F(OfflineTest, SameLineSameAnswerButSamplesOfABatchDiffer) {
  const auto line = [](const char* id) {
    return fmt::format(
        R"({{"custom_id":"{}","method":"POST","url":"/v1/completions","body":{{"prompt":[9],"temperature":1,"max_tokens":12}}}})"
        "\n",
        id);
  };
  run(line("a") + line("b"));
  const auto first = answers();
  std::filesystem::remove(options_.out);
  run(line("b"));
  const auto text = [](const Json& record) { return record["response"]["body"]["choices"][0]["text"]; };
  EXPECT_NE(text(first[0]), text(first[1]));
  EXPECT_EQ(text(first[1]), text(answers()[0]));
}

TEST_F(OfflineTest, AnInterruptedRunGoesOn) {
  std::string lines = "{\n";
  for (int32_t i = 0; i < 12; ++i) lines += ids_line(counted_ids(i, 4), {{"temperature", 1}});
  run(lines);
  const std::string whole = read_file(options_.out, 1 << 24).value();
  std::filesystem::remove(options_.out);
  // A kill: the disk has what the journal had then.
  std::string journal;
  options_.on_progress = [&](const OfflineProgress& progress) {
    if (progress.num_done >= 5 && journal.empty())
      journal = read_file(options_.out + ".unfinished", 1 << 24).value();
  };
  run(lines);
  EXPECT_EQ(read_file(options_.out, 1 << 24).value(), whole);
  std::filesystem::remove(options_.out);
  folder_.write("out.jsonl.unfinished", journal.substr(0, journal.size() - 3));
  options_.on_progress = {};
  const OfflineSummary summary = run(lines);
  EXPECT_GE(summary.num_resumed, 4u);
  EXPECT_LT(summary.num_resumed, 12u);
  EXPECT_EQ(summary.num_failed, 1u);
  EXPECT_EQ(read_file(options_.out, 1 << 24).value(), whole);
}

TEST_F(OfflineTest, ALineIsHeldToItsConstraint) {
  const Json choices = {"yes please", "no"};
  const std::vector<Json> records =
      answers_to(text_line("a", {{"prompt", {"x", "y"}}, {"guided_choice", choices}, {"max_tokens", 30}}) +
                 text_line("b", {{"prompt", {"x", "y"}}, {"guided_regex", "("}}) +
                 chat_line("c", {{"response_format", {{"type", "json_object"}}}, {"max_tokens", 2}}) +
                 chat_line("d", {{"guided_json", {{"type", "nothing"}}}}) +
                 text_line("e", {{"prompt", "z"}, {"guided_choice", choices}, {"max_tokens", 30}}));
  for (const Json& record : {records[0], records[4]}) {
    for (const Json& choice : body_of(record)["choices"]) {
      EXPECT_NE(std::find(choices.begin(), choices.end(), choice["text"]), choices.end()) << choice;
      EXPECT_EQ(choice["finish_reason"], "stop");
    }
  }
  EXPECT_TRUE(body_of(records[2])["choices"][0]["message"]["content"].get<std::string>().starts_with("{"));
  for (const auto& [index, param] : {std::pair{1, "guided_regex"}, {3, "guided_json"}}) {
    const Json& record = records[static_cast<size_t>(index)];
    EXPECT_EQ(record["response"]["status_code"], 400) << record;
    EXPECT_EQ(body_of(record)["error"]["param"], param);
    EXPECT_TRUE(body_of(record)["error"]["message"].get<std::string>().starts_with(param)) << record;
  }
}

TEST_F(OfflineTest, PromptsAreScored) {
  const std::vector<Json> records =
      answers_to(chat_line("a", {{"prompt_logprobs", 1}}) +
                 text_line("b", {{"prompt", {"It was", "The"}}, {"n", 2}, {"prompt_logprobs", 0}}) +
                 text_line("c", {{"prompt", "It was"}, {"echo", true}, {"prompt_logprobs", 2}}));
  const Json& chat = body_of(records[0]);
  ASSERT_EQ(chat["prompt_logprobs"].size(), chat["usage"]["prompt_tokens"]);
  EXPECT_EQ(chat["prompt_logprobs"][0], nullptr);
  for (const Json& choice : body_of(records[1])["choices"]) {
    const Json& scores = choice["prompt_logprobs"];
    ASSERT_GE(scores.size(), 2u);
    EXPECT_GE(scores[1].begin().value()["rank"], 1);
    EXPECT_FALSE(choice["text"].get<std::string>().starts_with("It was"));  // no echo
  }
  EXPECT_TRUE(body_of(records[2])["choices"][0]["text"].get<std::string>().starts_with("It was"));
}

TEST_F(OfflineTest, RepliesSayWhatTheServersDo) {
  const Json biased = {{"prompt", "x"}, {"logit_bias", {{"262", 100}}}, {"stop_token_ids", {262}}};
  const std::vector<Json> records =
      answers_to(text_line("a", biased) +
                 text_line("b", {{"prompt", "x"}, {"timings_per_token", true}, {"max_tokens", 3}}) +
                 text_line("c", {{"prompt", "x"}, {"logit_bias", {{"17", 100}}}}));
  EXPECT_EQ(body_of(records[0])["choices"][0]["stop_reason"], 262);
  EXPECT_EQ(body_of(records[0])["choices"][0]["finish_reason"], "stop");
  const Json& timings = body_of(records[1])["timings"];
  EXPECT_EQ(timings["predicted_n"], 3);
  EXPECT_GT(timings["prompt_ms"], 0);
  EXPECT_GT(timings["predicted_ms"], 0);
  EXPECT_FALSE(body_of(records[2]).contains("timings"));
  // A stop string that the engine shows and the reply does not.
  const auto text = body_of(records[2])["choices"][0]["text"].get<std::string>();
  const std::string stop = text.substr(text.size() / 2, 1);
  const Json stopped = body_of(answers_to(
      text_line("c", {{"prompt", "x"}, {"logit_bias", {{"17", 100}}}, {"stop", stop}}))[0])["choices"][0];
  EXPECT_EQ(stopped["stop_reason"], stop);
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(stop)));
}

TEST_F(OfflineTest, NoTwoRecordsHaveOneId) {
  const std::vector<Json> records =
      answers_to(text_line("a", {{"prompt", "x"}}) + text_line("a", {{"prompt", "x"}}) + "{\n" + "{\n" +
                 text_line("b", {{"prompt", "x"}, {"temperature", 9}}));
  std::set<Json> ids;
  for (const Json& record : records) ids.insert(record["id"]);
  EXPECT_EQ(ids.size(), 5u);
  EXPECT_EQ(records[1]["custom_id"], "a");
}

TEST_F(OfflineTest, NullStandsForWhatIsLeftOut) {
  options_.defaults.fields.erase("max_tokens");
  const Json nulls = {{"max_tokens", nullptr}, {"temperature", nullptr}, {"messages", nullptr}};
  const std::vector<Json> records = answers_to(ids_line(counted_ids(5, 4), nulls));
  EXPECT_EQ(records[0]["ids"].size(), 124u) << records[0];  // 256, as far as the context goes
  options_.defaults.fields["max_tokens"] = 5;
  EXPECT_EQ(answers_to(ids_line({5}, nulls))[0]["ids"].size(), 5u);
  const Json body = {{"prompt", "x"}, {"max_tokens", nullptr}};
  EXPECT_EQ(body_of(answers_to(text_line("a", body))[0])["usage"]["completion_tokens"], 5);
}

}  // namespace
}  // namespace fathom::testing
