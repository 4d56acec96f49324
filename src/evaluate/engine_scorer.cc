#include "evaluate/engine_scorer.h"

#include <algorithm>
#include <memory>

#include "evaluate/pair_encoding.h"

namespace fathom {
namespace {

// Requests in flight beyond those that the engine computes together, so that its batch stays full.
constexpr int64_t kRequestsAhead = 64;

// A request and the answers that its end decides: the log-probability of next_ids[i] belongs to targets[i].
struct Reading {
  Request request;
  std::vector<size_t> targets;
};

SamplingParams greedy(int64_t max_tokens) {
  SamplingParams sampling;
  sampling.temperature = 0;
  sampling.max_tokens = max_tokens;
  return sampling;
}

// The last measured token needs no place in the prompt.
void add_measured(MeasuredTokens tokens, size_t target, std::vector<Reading>& readings) {
  const int32_t last = tokens.ids.back();
  tokens.ids.pop_back();
  PromptScoring scoring;
  if (tokens.first < tokens.ids.size()) scoring.first = static_cast<int64_t>(tokens.first);
  const auto same = std::find_if(readings.begin(), readings.end(), [&](const Reading& reading) {
    return reading.request.prompt_ids == tokens.ids && reading.request.scoring.first == scoring.first;
  });
  if (same != readings.end()) {
    same->request.scoring.next_ids.push_back(last);
    same->targets.push_back(target);
    return;
  }
  scoring.next_ids = {last};
  readings.push_back({{std::move(tokens.ids), greedy(1), std::move(scoring)}, {target}});
}

class ReadingMaker {
 public:
  ReadingMaker(const Tokenizer& tokenizer, int64_t max_model_len)
      : tokenizer_(tokenizer), max_model_len_(max_model_len) {}

  Result<std::vector<Reading>> make(const Query& query) const {
    switch (query.kind) {
      case QueryKind::kContinuations:
        return continuations(query);
      case QueryKind::kNextToken:
        return next_token(query);
      case QueryKind::kWholeText:
        return whole_text(query);
      case QueryKind::kGenerate:
        break;
    }
    return generate(query);
  }

 private:
  Result<std::vector<Reading>> continuations(const Query& query) const {
    std::vector<Reading> readings;
    for (size_t i = 0; i < query.choices.size(); ++i) {
      FATHOM_ASSIGN_OR_RETURN(MeasuredTokens tokens, encode_pair(tokenizer_, query.prompt, query.choices[i],
                                                                 static_cast<size_t>(max_model_len_)));
      add_measured(std::move(tokens), i, readings);
    }
    return readings;
  }

  Result<std::vector<Reading>> next_token(const Query& query) const {
    FATHOM_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, encode_prompt(tokenizer_, query.prompt));
    keep_end(prompt, 1);
    Reading reading{{std::move(prompt), greedy(1), {}}, {}};
    for (size_t i = 0; i < query.choices.size(); ++i) {
      FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                              tokenizer_.encode(query.choices[i], {.add_bos = AddBos::kNever}));
      if (ids.empty()) return invalid_argument("the choice \"{}\" has no token", query.choices[i]);
      reading.request.scoring.next_ids.push_back(ids.back());
      reading.targets.push_back(i);
    }
    return std::vector<Reading>{std::move(reading)};
  }

  Result<std::vector<Reading>> whole_text(const Query& query) const {
    FATHOM_ASSIGN_OR_RETURN(
        std::vector<MeasuredTokens> windows,
        encode_windows(tokenizer_, query.prompt, static_cast<size_t>(max_model_len_ - 1)));
    std::vector<Reading> readings;
    for (MeasuredTokens& window : windows) add_measured(std::move(window), 0, readings);
    return readings;
  }

  Result<std::vector<Reading>> generate(const Query& query) const {
    if (query.max_tokens >= max_model_len_) {
      return invalid_argument("an answer of up to {} tokens leaves no room for a prompt in the model's {}",
                              query.max_tokens, max_model_len_);
    }
    FATHOM_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, encode_prompt(tokenizer_, query.prompt));
    keep_end(prompt, query.max_tokens);
    SamplingParams sampling = greedy(query.max_tokens);
    sampling.stop_strings = query.until;
    return std::vector<Reading>{{{std::move(prompt), std::move(sampling), {}}, {}}};
  }

  // What is too long loses its beginning, as in the harness.
  void keep_end(std::vector<int32_t>& prompt, int64_t num_new_tokens) const {
    const auto most = static_cast<size_t>(max_model_len_ - num_new_tokens);
    if (prompt.size() > most) prompt.erase(prompt.begin(), prompt.end() - static_cast<std::ptrdiff_t>(most));
  }

  const Tokenizer& tokenizer_;
  int64_t max_model_len_;
};

// A query under way.
struct Pending {
  size_t query_index = 0;
  Answer answer;
  size_t num_open = 0;
  Status status;
  std::vector<std::vector<size_t>> targets;  // of each reading
  std::vector<PromptScores> scores;          // the same
};

// In the order of the readings, however they ended: sums depend on it.
void add_scores(Pending& pending) {
  for (size_t i = 0; i < pending.scores.size(); ++i) {
    const PromptScores& scores = pending.scores[i];
    double before_last = 0;
    for (double logprob : scores.logprobs) before_last += logprob;
    for (size_t j = 0; j < pending.targets[i].size(); ++j) {
      pending.answer.logprobs[pending.targets[i][j]] += before_last + scores.next_logprobs[j];
    }
  }
}

class Session {
 public:
  Session(Engine& engine, const AnswerSink& sink) : engine_(engine), sink_(sink) {}
  ~Session() {
    for (RequestId id : ids_) engine_.cancel(id);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status submit(const Query& query, size_t query_index) {
    const ReadingMaker maker(*engine_.tokenizer(), engine_.max_model_len());
    FATHOM_ASSIGN_OR_RETURN(std::vector<Reading> readings, maker.make(query));
    auto pending = std::make_shared<Pending>();
    pending->query_index = query_index;
    pending->num_open = readings.size();
    if (query.kind != QueryKind::kGenerate) {
      pending->answer.logprobs.assign(query.kind == QueryKind::kWholeText ? 1 : query.choices.size(), 0);
    }
    if (readings.empty()) return invalid_argument("nothing to read");
    pending->answer.prompt_ids = readings[0].request.prompt_ids;
    pending->scores.resize(readings.size());
    for (size_t i = 0; i < readings.size(); ++i) {
      pending->targets.push_back(std::move(readings[i].targets));
      FATHOM_RETURN_IF_ERROR(submit(readings[i].request, pending, i));
    }
    return ok_status();
  }

  size_t num_open() const { return num_open_; }

  // One step, then what it has ended.
  Status advance() {
    if (engine_.has_work()) FATHOM_RETURN_IF_ERROR(engine_.step());
    std::vector<std::shared_ptr<Pending>> ended;
    ended.swap(ended_);
    for (const auto& pending : ended) {
      FATHOM_RETURN_IF_ERROR(pending->status);
      add_scores(*pending);
      FATHOM_RETURN_IF_ERROR(sink_(pending->query_index, std::move(pending->answer)));
    }
    return ok_status();
  }

 private:
  Status submit(const Request& request, const std::shared_ptr<Pending>& pending, size_t reading) {
    const auto listener = [this, pending, reading](const RequestEvent& event) {
      if (event.prompt_scores != nullptr) pending->scores[reading] = *event.prompt_scores;
      if (reading == 0) {
        if (event.token_id) pending->answer.output_ids.push_back(*event.token_id);
        pending->answer.text += event.text;
      }
      if (event.finish_reason == FinishReason::kNone) return;
      if (!event.status.ok()) pending->status = event.status;
      --num_open_;
      if (--pending->num_open == 0) ended_.push_back(pending);
    };
    Result<RequestId> id = engine_.submit(request, listener);
    // A long text has more windows than the engine's line has places.
    while (!id.ok() && id.status().code() == ErrorCode::kResourceExhausted && engine_.has_work()) {
      FATHOM_RETURN_IF_ERROR(engine_.step());
      id = engine_.submit(request, listener);
    }
    if (!id.ok()) return id.status();
    ++num_open_;
    ids_.push_back(*id);
    return ok_status();
  }

  Engine& engine_;
  const AnswerSink& sink_;
  size_t num_open_ = 0;
  std::vector<std::shared_ptr<Pending>> ended_;
  std::vector<RequestId> ids_;
};

}  // namespace

Status EngineScorer::answer(std::span<const Query> queries, const AnswerSink& sink) {
  Session session(engine_, sink);
  const auto most = static_cast<size_t>(max_at_once_ + kRequestsAhead);
  size_t next = 0;
  while (next < queries.size() || session.num_open() > 0) {
    while (next < queries.size() && session.num_open() < most) {
      FATHOM_RETURN_IF_ERROR(session.submit(queries[next], next).with_context("a question"));
      ++next;
    }
    FATHOM_RETURN_IF_ERROR(session.advance());
  }
  return session.advance();
}

}  // namespace fathom
