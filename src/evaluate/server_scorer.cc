#include "evaluate/server_scorer.h"

#include <algorithm>
#include <memory>

#include "base/clock.h"
#include "client/openai_api.h"
#include "evaluate/readings.h"

namespace fathom {
namespace {

constexpr int kMaxRetries = 60;
constexpr double kUsualPause = 1, kMaxPause = 60;  // seconds

// One request: a reading, and which of its next tokens.
struct Ask {
  std::shared_ptr<PendingQuery> pending;
  size_t reading = 0;
  size_t next = 0;
  std::string body = {};
  int num_retries = 0;

  const Reading& what() const { return pending->readings[reading]; }
  bool generates() const { return what().scoring.next_ids.empty(); }
};

// The measured tokens are part of the prompt. One more token is asked for only where it fits: some servers
// refuse max_tokens 0, none can do without it here.
Json body_of(const Ask& ask, const ServerScorerOptions& options) {
  std::vector<int32_t> ids = ask.what().ids;
  Json body = {{"model", options.model}, {"temperature", 0}};
  if (ask.generates()) {
    body.update({{"max_tokens", ask.what().max_tokens}, {"return_token_ids", true}});
    if (!ask.what().until.empty()) body["stop"] = ask.what().until;
  } else {
    ids.push_back(ask.what().scoring.next_ids[ask.next]);
    const bool fits = static_cast<int64_t>(ids.size()) < options.max_model_len;
    body.update({{"max_tokens", fits ? 1 : 0}, {"echo", true}, {"logprobs", 1}});
  }
  body["prompt"] = std::move(ids);
  return body;
}

Result<const Json*> choice_of(const Json& reply) {
  const auto choices = reply.is_object() ? reply.find("choices") : reply.end();
  if (!reply.is_object() || choices == reply.end() || !choices->is_array() || choices->empty() ||
      !(*choices)[0].is_object()) {
    return invalid_data("the reply has no choices");
  }
  return &(*choices)[0];
}

// Of the tokens [first, end) of a prompt with that many tokens.
Result<std::vector<double>> prompt_logprobs(const Json& choice, size_t first, size_t end) {
  const auto logprobs = choice.find("logprobs");
  if (logprobs == choice.end() || !logprobs->is_object() || !logprobs->contains("token_logprobs")) {
    return unsupported("the server gives no log-probabilities of prompts (\"echo\" with \"logprobs\")");
  }
  const Json& list = (*logprobs)["token_logprobs"];
  if (!list.is_array() || list.size() < end) {
    return invalid_data("the server gives {} log-probabilities for a prompt of {} tokens", list.size(), end);
  }
  std::vector<double> values;
  for (size_t i = first; i < end; ++i) {
    if (!list[i].is_number()) return invalid_data("log-probability {} of the prompt is no number", i);
    values.push_back(list[i].get<double>());
  }
  return values;
}

Status take_scores(const Json& choice, const Ask& ask) {
  const Reading& reading = ask.what();
  const size_t end = reading.ids.size() + 1;
  const size_t first = reading.scoring.first ? static_cast<size_t>(*reading.scoring.first) : end - 1;
  FATHOM_ASSIGN_OR_RETURN(std::vector<double> values, prompt_logprobs(choice, first, end));
  PromptScores& scores = ask.pending->scores[ask.reading];
  scores.next_logprobs.resize(reading.scoring.next_ids.size());
  scores.next_logprobs[ask.next] = values.back();
  values.pop_back();
  scores.logprobs = std::move(values);
  return ok_status();
}

Status take_text(const Json& choice, Answer& answer) {
  const auto text = choice.find("text");
  if (text == choice.end() || !text->is_string()) return invalid_data("the reply has no text");
  answer.text = text->get<std::string>();
  const auto ids = choice.find("token_ids");
  if (ids == choice.end() || !ids->is_array()) return ok_status();  // not every server says them
  for (const Json& id : *ids) {
    if (id.is_number_integer()) answer.output_ids.push_back(id.get<int32_t>());
  }
  return ok_status();
}

class ServerSession {
 public:
  ServerSession(HttpClient& client, const Tokenizer& tokenizer, const ServerScorerOptions& options,
                const AnswerSink& sink)
      : client_(client), tokenizer_(tokenizer), options_(options), sink_(sink) {}

  Status run(std::span<const Query> queries) {
    queries_ = queries;
    send_more();
    client_.run();
    return status_;
  }

 private:
  void send_more() {
    while (status_.ok() && num_open_ < options_.max_at_once && open_next()) {
      send(std::move(waiting_.back()));
      waiting_.pop_back();
    }
  }

  // Whether an ask waits, after the next query has been opened where none did.
  bool open_next() {
    if (!waiting_.empty()) return true;
    if (next_ == queries_.size()) return false;
    const auto pending = begin_query(tokenizer_, options_.max_model_len, queries_[next_], next_);
    ++next_;
    if (!pending.ok()) {
      fail(pending.status().with_context("a question"));
      return false;
    }
    for (size_t i = 0; i < (*pending)->readings.size(); ++i) {
      const size_t count = std::max<size_t>(1, (*pending)->readings[i].scoring.next_ids.size());
      for (size_t j = 0; j < count; ++j) waiting_.push_back({*pending, i, j});
    }
    (*pending)->num_open = waiting_.size();
    std::reverse(waiting_.begin(), waiting_.end());
    return true;
  }

  void send(Ask ask) {
    if (ask.body.empty()) ask.body = dump_json(body_of(ask, options_));
    ++num_open_;
    const auto shared = std::make_shared<Ask>(std::move(ask));
    client_.start({"POST", std::string(api_path(CompletionApi::kText)), shared->body}, {},
                  [this, shared](ClientReply reply) { finish(*shared, reply); });
  }

  void finish(Ask& ask, const ClientReply& reply) {
    --num_open_;
    if (!status_.ok()) return;
    const bool is_full = reply.status.ok() && (reply.code == 429 || reply.code == 503);
    if (is_full && ask.num_retries++ < kMaxRetries)
      return send_later(ask, reply.retry_after.value_or(kUsualPause));
    const Status taken = take(ask, reply);
    if (!taken.ok()) return fail(taken);
    send_more();
  }

  // Holds its place meanwhile: others would only meet the same.
  void send_later(Ask& ask, double pause) {
    ++num_open_;
    client_.at(monotonic_seconds() + std::min(pause, kMaxPause), [this, again = ask] {
      --num_open_;
      if (status_.ok()) send(again);
    });
  }

  Status take(const Ask& ask, const ClientReply& reply) {
    FATHOM_ASSIGN_OR_RETURN(const Json json, reply_json(reply, client_.url()));
    const std::string server = client_.url().text();
    const Result<const Json*> choice = choice_of(json);
    if (!choice.ok()) return choice.status().with_context(server);
    const Status taken =
        ask.generates() ? take_text(**choice, ask.pending->answer) : take_scores(**choice, ask);
    FATHOM_RETURN_IF_ERROR(taken.with_context(server));
    if (--ask.pending->num_open > 0) return ok_status();
    add_scores(*ask.pending);
    return sink_(ask.pending->query_index, std::move(ask.pending->answer));
  }

  void fail(Status status) {
    status_ = std::move(status);
    client_.cancel_all();
  }

  HttpClient& client_;
  const Tokenizer& tokenizer_;
  const ServerScorerOptions& options_;
  const AnswerSink& sink_;
  std::span<const Query> queries_;
  size_t next_ = 0;
  std::vector<Ask> waiting_;  // the next one last
  int64_t num_open_ = 0;
  Status status_;
};

}  // namespace

Status ServerScorer::answer(std::span<const Query> queries, const AnswerSink& sink) {
  return ServerSession(client_, tokenizer_, options_, sink).run(queries);
}

}  // namespace fathom
